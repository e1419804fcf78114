-- An account, `bank/NAME`. Amounts are whole numbers of the smallest coin.
local account = {}

-- An error with a code of its own: callers see it as `app.CODE`, and the run leaves nothing.
local function refuse(code, message)
  error({ code = code, message = message })
end

-- Every change of the balance is a line of the statement, written in the same transaction: the two
-- cannot disagree. The request's id says which request made the line.
local function book(self, amount, with)
  if math.type(amount) ~= "integer" or amount == 0 then
    refuse("bad_amount", "an amount is a whole number above 0")
  end
  if self.state.is_closed then refuse("closed", self.id .. " is closed") end
  local number, balance = (self.state.lines or 0) + 1, (self.state.balance or 0) + amount
  if balance < 0 then refuse("insufficient", self.id .. " would have " .. balance) end
  self.state.lines, self.state.balance = number, balance
  self.state[string.format("line/%09d", number)] =
    { amount = amount, balance = balance, with = with, request = self.request_id }
  return balance
end

function account.balance(self) return self.state.balance or 0 end

function account.deposit(self, amount)
  return book(self, math.max(amount, 0), self.caller)
end

-- Both accounts change or neither: the call joins this transaction, its error ends this run too.
function account.transfer(self, to, amount)
  local balance = book(self, -math.max(amount, 0), to)
  self:call(to, "deposit", amount)
  return balance
end

-- Pays each of a list of accounts. A call that fails leaves nothing of its own, and whoever made it
-- may catch the error and go on: a call is a savepoint.
function account.pay_all(self, payees, amount)
  local unpaid = lithox.list {}
  for _, payee in ipairs(payees) do
    if not pcall(self.call, self, self.id, "transfer", payee, amount) then
      unpaid[#unpaid + 1] = payee
    end
  end
  return unpaid
end

-- The lines behind number `after`, oldest first, at most a hundred of them.
function account.statement(self, after)
  local lines = lithox.list {}
  for _, line in self:scan("line/", string.format("line/%09d", after or 0)) do
    if #lines < 100 then lines[#lines + 1] = line else break end
  end
  return lines
end

function account.close(self) self.state.is_closed = true end

return account
