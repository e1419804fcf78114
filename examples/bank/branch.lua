-- A branch, `branch/NAME`, knows some accounts and can say what is in all of them at one moment.
local branch = {}

-- At most fifteen: one transaction has sixteen entities.
function branch.open(self, accounts)
  self.state.accounts = lithox.list(accounts)
  return #accounts
end

-- Each call reads the state of the same moment, however many transfers are under way: money that is
-- being moved is never missing and never there twice.
function branch.total(self)
  local total = 0
  for _, account in ipairs(self.state.accounts or {}) do
    total = total + self:call(account, "balance")
  end
  return total
end

return branch
