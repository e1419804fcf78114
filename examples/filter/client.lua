-- Tries some calls of its context 0 and says what became of them.
for _, name in ipairs({ "time.now", "node.info", "program.list" }) do
  local status, _, message = os.request(0, name)
  if status == 0 then print(name, "ok") else print(name, os.status_name(status), message) end
end
