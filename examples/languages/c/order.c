/* An order, `order/NUMBER`: a state machine whose steps touch the stock and tell the customer. */
#include "parts.h"

#define PAY_WITHIN_MS (15 * 60 * 1000)
#define COUNT_MAX 1000

typedef struct transition {
  const char *event, *from, *to;
  bool gives_back;
} transition;

/* Where an event leads from a status, and whether the goods go back to stock. */
static const transition MOVES[] = {
  {"create", "new", "created", false},
  {"pay", "created", "paid", false},
  {"ship", "paid", "shipped", false},
  {"deliver", "shipped", "delivered", false},
  {"cancel", "created", "cancelled", true},
  {"expire", "created", "cancelled", true},
  {"refund", "paid", "refunded", true},
  {"refund", "delivered", "refunded", false},
};

static bool is(lx_str text, const char *word) {
  return lx_str_equal(text, lx_str_of(word));
}

static const transition *find_transition(const char *event, lx_str status) {
  for (size_t i = 0; i < sizeof MOVES / sizeof *MOVES; i++) {
    if (is(lx_str_of(event), MOVES[i].event) && is(status, MOVES[i].from)) return &MOVES[i];
  }
  return NULL;
}

static lx_value current(void) {
  lx_value order = lx_get(LX("order"));
  if (!lx_is_null(order)) return order;
  order = lx_map();
  lx_set(&order, LX("status"), lx_text(LX("new")));
  lx_set(&order, LX("steps"), lx_list());
  return order;
}

/* The node answers a request it has seen from its record, as long as it keeps that. The order
** remembers for good: the same event under the same id is the step that was made then. */
static bool find_step(lx_value order, const char *event, lx_value *step) {
  lx_value steps = lx_field(order, LX("steps"));
  if (lx_self.request_id.at == NULL) return false;
  for (uint32_t i = 0; i < steps.length; i++) {
    *step = lx_item(steps, i);
    if (lx_str_equal(text_field(*step, LX("request")), lx_self.request_id) &&
        is(text_field(*step, LX("event")), event)) {
      return true;
    }
  }
  return false;
}

static lx_value make_step(const transition *t) {
  lx_value step = lx_map();
  lx_set(&step, LX("event"), lx_text(lx_str_of(t->event)));
  lx_set(&step, LX("status"), lx_text(lx_str_of(t->to)));
  lx_set(&step, LX("at_ms"), lx_int(lx_self.now_ms));
  if (lx_self.request_id.at != NULL) lx_set(&step, LX("request"), lx_text(lx_self.request_id));
  return step;
}

/* Makes one step, or leaves an error and changes nothing. The order, the stock, the timer and the
** message change in one transaction. */
static lx_value move(const char *event) {
  lx_value order = current(), step;
  lx_str status = text_field(order, LX("status"));
  if (find_step(order, event, &step)) return lx_field(step, LX("status"));
  const transition *t = find_transition(event, status);
  if (t == NULL) {
    lx_str message = JOIN(lx_self.id, LX(" is "), status, LX(": no "), lx_str_of(event));
    return REFUSE("not_allowed", message);
  }
  if (is(status, "created")) lx_cancel(lx_field(order, LX("payment_timer")));
  if (t->gives_back) {
    lx_call(JOIN(LX("stock/"), text_field(order, LX("item"))), LX("release"),
            lx_list_of(lx_field(order, LX("count"))));
  }
  step = make_step(t);
  lx_set(&order, LX("status"), lx_field(step, LX("status")));
  lx_push(lx_field_at(&order, LX("steps")), step);
  lx_put(LX("order"), order);
  lx_send(JOIN(LX("notices/"), text_field(order, LX("customer"))), LX("notify"),
          lx_list_of(lx_text(lx_self.id), lx_field(step, LX("status"))));
  return lx_field(step, LX("status"));
}

LX_HANDLER(create) {
  lx_value customer = lx_arg(0), item = lx_arg(1), count = lx_arg(2);
  if (customer.kind != LX_TEXT || item.kind != LX_TEXT) {
    return REFUSE("bad_argument", LX("customer and item are names"));
  }
  if (!is_whole(count, 1, COUNT_MAX)) {
    return REFUSE("bad_argument",
                  JOIN(LX("count is a whole number from 1 to "), number(COUNT_MAX)));
  }
  if (!lx_has(LX("order"))) {
    lx_value order = current();
    lx_call(JOIN(LX("stock/"), lx_as_text(item, LX(""))), LX("reserve"), lx_list_of(count));
    lx_set(&order, LX("customer"), customer);
    lx_set(&order, LX("item"), item);
    lx_set(&order, LX("count"), count);
    lx_set(&order, LX("payment_timer"), lx_after(PAY_WITHIN_MS, LX("expire"), lx_list()));
    lx_put(LX("order"), order);
  }
  return move("create");
}

LX_HANDLER(pay) { return move("pay"); }

LX_HANDLER(ship) { return move("ship"); }

LX_HANDLER(deliver) { return move("deliver"); }

LX_HANDLER(cancel) { return move("cancel"); }

LX_HANDLER(refund) { return move("refund"); }

/* Called by the timer, that is by the entity itself, and by nobody else. */
LX_HANDLER(expire) {
  if (!lx_str_equal(lx_self.caller, JOIN(LX("entity:"), lx_self.id))) {
    return REFUSE("not_allowed", LX("only time can expire an order"));
  }
  return move("expire");
}

LX_HANDLER(show) {
  lx_value order = current(), shown = lx_map(), events = lx_list();
  const lx_str names[] = {LX("status"), LX("customer"), LX("item"), LX("count")};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lx_value found = lx_field(order, names[i]);
    if (!lx_is_null(found)) lx_set(&shown, names[i], found);
  }
  lx_value steps = lx_field(order, LX("steps"));
  for (uint32_t i = 0; i < steps.length; i++) {
    lx_push(&events, lx_field(lx_item(steps, i), LX("event")));
  }
  lx_set(&shown, LX("steps"), events);
  return shown;
}
