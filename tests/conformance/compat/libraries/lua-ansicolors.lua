local colors = require("ansicolors")
print((colors("%{red}hello%{reset} %{bright green bluebg}world"):gsub("\27", "ESC"))) print((colors.noReset("%{underline}x"):gsub("\27", "ESC"))) print((pcall(colors, "%{nonsense}x")))
