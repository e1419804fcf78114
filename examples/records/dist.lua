-- One distribution: its files, how many there are and how many bytes they have together.
local dist = {}

-- Records one file and counts a reference to its content. Both entities commit together or not at
-- all, so the two sums can never disagree, whatever is killed meanwhile.
--
-- Nothing here looks whether the file has been recorded before: a request that is sent again with
-- the same id does not run again.
function dist.record(self, path, hash, size)
  self.state["file/" .. path] = { hash = hash, size = size }
  self.state.files = (self.state.files or 0) + 1
  self.state.bytes = (self.state.bytes or 0) + size
  self:call("content/" .. hash, "refer", size)
  return self.state.files
end

function dist.totals(self)
  return { files = self.state.files or 0, bytes = self.state.bytes or 0 }
end

-- Returns those of `paths` that are not recorded.
function dist.missing(self, paths)
  local absent = lithox.list {}
  for _, path in ipairs(paths) do
    if self.state["file/" .. path] == nil then
      absent[#absent + 1] = path
    end
  end
  return absent
end

return dist
