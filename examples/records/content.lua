-- One content, wherever it occurs: `content/HASH`.
local content = {}

function content.refer(self, size)
  self.state.references = (self.state.references or 0) + 1
  self.state.size = size
end

function content.references(self)
  return self.state.references or 0
end

return content
