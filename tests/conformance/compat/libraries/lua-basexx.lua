local basexx = require("basexx")
for _, text in ipairs{"", "f", "fo", "foo", "foob", "fooba", "foobar", "\0\255\128", ("x"):rep(40)} do
  local b64, b32, hex, bits = basexx.to_base64(text), basexx.to_base32(text), basexx.to_hex(text), basexx.to_bit(text)
  print(b64, b32, hex, bits) print(basexx.from_base64(b64) == text, basexx.from_base32(b32) == text, basexx.from_hex(hex) == text, basexx.from_bit(bits) == text) print(basexx.to_url64(text), basexx.to_crockford(text))
end print(basexx.to_z85("\134\79\210\111\181\89\247\91"), basexx.from_z85("HelloWorld") == "\134\79\210\111\181\89\247\91") print(basexx.from_base64("####"))
