/*
** calls.h - the one system call, and the form of what is asked and answered. Part of lithox.h.
**
** Messages are those of docs/abi.md. Every call goes: lx__begin, arguments, lx__ask, values of the
** answer. Where an error is there already, nothing is asked.
*/

/* Written in assembly's terms by the compiler: import "lithox" "syscall". */
__attribute__((import_module("lithox"), import_name("syscall"))) int32_t
lx__syscall(const void *message, uint32_t length, void *out, uint32_t room);

#define LX__ANSWER_ROOM 1024

/* Begins the message [0, name, ...] with `count` arguments. */
LX_API lx__buffer lx__begin(lx_str name, uint32_t count) {
  lx__buffer b = {NULL, 0, 0};
  lx__put_array(&b, count + 2);
  lx__put_int(&b, 0);
  lx__put_text(&b, name);
  return b;
}

/* Sends a message; returns the whole answer, in memory of its own. */
LX_API lx__input lx__exchange(const lx__buffer *b) {
  int32_t length;
  uint8_t *out;
  lx__need(LX__ANSWER_ROOM);
  out = lx__arena.at;
  length = lx__syscall(b->bytes, (uint32_t)b->length, out, (uint32_t)(lx__arena.end - out));
  if (length < 0) { /* it is longer than the room there was: the host keeps it for us */
    length = -length;
    out = lx_alloc((size_t)length);
    lx__syscall(NULL, 0, out, (uint32_t)length);
  }
  else lx_alloc((size_t)length);
  return (lx__input){out, out + length, false};
}

/* Leaves the error an answer tells of: [status, code, message, fields]. */
LX_API void lx__take_refusal(lx__input *in, uint32_t count) {
  lx_str code = LX(""), message = LX("the call was refused");
  lx_value fields = lx_null();
  if (count > 1) code = lx_as_text(lx__take_value(in, 1), code);
  if (count > 2) message = lx_as_text(lx__take_value(in, 1), message);
  if (count > 3) fields = lx__take_value(in, 1);
  lx_fail_at(code, message, fields, NULL, 0, NULL);
}

/* Sends a message unless there is an error. Returns whether it was answered well; `in` then stands
** at the first value of the answer. */
LX_API bool lx__ask(const lx__buffer *b, lx__input *in) {
  uint32_t count;
  int64_t status;
  if (lx_failed()) return false;
  *in = lx__exchange(b);
  count = lx__take_count(in);
  status = lx_as_int(lx__take_value(in, 1), -1);
  if (in->is_broken || count == 0) {
    lx_fail_at(LX(""), LX("an answer that cannot be read"), lx_null(), NULL, 0, NULL);
    return false;
  }
  if (status != 0) {
    lx__take_refusal(in, count);
    return false;
  }
  return true;
}

/* Sends a message; returns the first value of its answer, null when it was refused. */
LX_API lx_value lx__ask_value(const lx__buffer *b) {
  lx__input in;
  if (!lx__ask(b, &in) || in.at == in.end) return lx_null();
  return lx__take_value(&in, 1);
}
