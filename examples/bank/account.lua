-- An account, `bank/NAME`. Amounts are whole numbers of the smallest coin.
local account = {}

-- An error with a code of its own: callers see it as `app.CODE`, and the run leaves nothing.
local function refuse(code, message)
  error({ code = code, message = message })
end

local function check_amount(amount)
  if math.type(amount) ~= "integer" or amount <= 0 then
    refuse("bad_amount", "an amount is a whole number above 0")
  end
end

function account.balance(self)
  return self.state.balance or 0
end

function account.deposit(self, amount)
  check_amount(amount)
  if self.state.is_closed then refuse("closed", self.id .. " is closed") end
  self.state.balance = (self.state.balance or 0) + amount
  return self.state.balance
end

-- Both accounts change together or neither does: the call joins this transaction, and if the
-- deposit raises an error, so does this handler.
function account.transfer(self, to, amount)
  check_amount(amount)
  local balance = self.state.balance or 0
  if balance < amount then
    refuse("insufficient", self.id .. " has " .. balance .. ", not " .. amount)
  end
  self.state.balance = balance - amount
  self:call(to, "deposit", amount)
  return self.state.balance
end

-- Pays each of a list of accounts. A call that fails leaves nothing of its own, and whoever made it
-- may catch the error and go on: a call is a savepoint.
function account.pay_all(self, payees, amount)
  local unpaid = lithox.list {}
  for _, payee in ipairs(payees) do
    local is_paid = pcall(self.call, self, self.id, "transfer", payee, amount)
    if not is_paid then unpaid[#unpaid + 1] = payee end
  end
  return unpaid
end

function account.close(self)
  self.state.is_closed = true
end

return account
