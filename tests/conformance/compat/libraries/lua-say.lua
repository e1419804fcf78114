local s = require("say")
s:set_namespace("en") s:set("money", "I have %s dollars") s:set("wow", "So much money!") print(s("money", {1000})) print(s("wow"))
s:set_namespace("fr") s:set("wow", "Tant d'argent!") print(s("wow")) print(s("money", {5})) s:set_fallback("en") print(s("missing")) s:set_namespace("en") print(s("money", {"no", n = 1}))
