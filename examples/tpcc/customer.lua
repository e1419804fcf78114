-- A customer of a district, `tpcc/W/district/D/customer/C`.
local customer = {}

function customer.open(self, last, discount)
  self.state.last, self.state.discount = last, discount
  self.state.balance, self.state.paid, self.state.payments = 0, 0, 0
end

function customer.discount(self)
  return self.state.discount
end

function customer.pay(self, amount)
  local state = self.state
  state.balance, state.paid, state.payments =
    state.balance - amount, state.paid + amount, state.payments + 1
  return state.balance
end

function customer.paid(self)
  return self.state.paid
end

return customer
