/*
** wire.h - values as MessagePack and back. Part of lithox.h.
**
** What is written is the one canonical form of docs/reference/values.md: shortest integers and
** lengths, floats of 64 bits, keys in the order of their bytes. Any MessagePack is read.
*/

#define LX__DEPTH_MAX 64

/* A message that is being made. */
typedef struct lx__buffer {
  uint8_t *bytes;
  size_t length, room;
} lx__buffer;

/* A message that is being read. Past the end it gives zeros and is marked. */
typedef struct lx__input {
  const uint8_t *at, *end;
  bool is_broken;
} lx__input;

/* ---- writing ---- */

LX_API uint8_t *lx__extend(lx__buffer *b, size_t bytes) {
  uint8_t *at;
  if (b->room - b->length < bytes) {
    size_t room = b->room == 0 ? 256 : b->room * 2;
    while (room < b->length + bytes) room *= 2;
    b->bytes = lx__regrow(b->bytes, b->length, b->room, room);
    b->room = room;
  }
  at = b->bytes + b->length;
  b->length += bytes;
  return at;
}

/* Writes `tag`, then the low `bytes` bytes of `number`, the highest first. */
LX_API void lx__put_tagged(lx__buffer *b, uint8_t tag, uint64_t number, int bytes) {
  uint8_t *to = lx__extend(b, 1 + (size_t)bytes);
  *to++ = tag;
  while (bytes-- > 0) *to++ = (uint8_t)(number >> (8 * bytes));
}

LX_API void lx__put_int(lx__buffer *b, int64_t value) {
  if (value >= -32 && value < 128) *lx__extend(b, 1) = (uint8_t)value;
  else if (value >= 0) {
    if (value <= 0xff) lx__put_tagged(b, 0xcc, (uint64_t)value, 1);
    else if (value <= 0xffff) lx__put_tagged(b, 0xcd, (uint64_t)value, 2);
    else if (value <= 0xffffffff) lx__put_tagged(b, 0xce, (uint64_t)value, 4);
    else lx__put_tagged(b, 0xcf, (uint64_t)value, 8);
  }
  else if (value >= -0x80) lx__put_tagged(b, 0xd0, (uint64_t)value, 1);
  else if (value >= -0x8000) lx__put_tagged(b, 0xd1, (uint64_t)value, 2);
  else if (value >= -0x80000000ll) lx__put_tagged(b, 0xd2, (uint64_t)value, 4);
  else lx__put_tagged(b, 0xd3, (uint64_t)value, 8);
}

LX_API void lx__put_count(lx__buffer *b, uint8_t small, uint8_t tag, uint32_t count) {
  if (count < 16) *lx__extend(b, 1) = (uint8_t)(small | count);
  else if (count <= 0xffff) lx__put_tagged(b, tag, count, 2);
  else lx__put_tagged(b, (uint8_t)(tag + 1), count, 4);
}

LX_API void lx__put_array(lx__buffer *b, uint32_t count) {
  lx__put_count(b, 0x90, 0xdc, count);
}

LX_API void lx__put_map(lx__buffer *b, uint32_t count) {
  lx__put_count(b, 0x80, 0xde, count);
}

LX_API void lx__put_nil(lx__buffer *b) {
  *lx__extend(b, 1) = 0xc0;
}

LX_API void lx__put_raw(lx__buffer *b, lx_str bytes) {
  if (bytes.length > 0) __builtin_memcpy(lx__extend(b, bytes.length), bytes.at, bytes.length);
}

LX_API void lx__put_text(lx__buffer *b, lx_str text) {
  if (text.length < 32) *lx__extend(b, 1) = (uint8_t)(0xa0 | text.length);
  else if (text.length <= 0xff) lx__put_tagged(b, 0xd9, text.length, 1);
  else if (text.length <= 0xffff) lx__put_tagged(b, 0xda, text.length, 2);
  else lx__put_tagged(b, 0xdb, text.length, 4);
  lx__put_raw(b, text);
}

LX_API void lx__put_bytes(lx__buffer *b, lx_str bytes) {
  if (bytes.length <= 0xff) lx__put_tagged(b, 0xc4, bytes.length, 1);
  else if (bytes.length <= 0xffff) lx__put_tagged(b, 0xc5, bytes.length, 2);
  else lx__put_tagged(b, 0xc6, bytes.length, 4);
  lx__put_raw(b, bytes);
}

LX_API void lx__put_float(lx__buffer *b, double value) {
  uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  lx__put_tagged(b, 0xcb, bits, 8);
}

/* Leaves the error of a value that cannot travel. */
LX_API void lx__refuse_value(const char *why) {
  lx_fail_at(LX(""), lx_str_of(why), lx_null(), NULL, 0, NULL);
}

LX_API void lx__put_checked_text(lx__buffer *b, lx_str text) {
  if (!lx__is_utf8(text)) lx__refuse_value("a text that is not valid UTF-8 cannot leave a run");
  lx__put_text(b, text);
}

/* Writes a value; one that cannot travel leaves an error, and what is written then is of no use. */
LX_API void lx__put_value(lx__buffer *b, lx_value value, int depth) {
  if (depth > LX__DEPTH_MAX && (value.kind == LX_LIST || value.kind == LX_MAP)) {
    lx__refuse_value("a value nests deeper than 64 lists and maps");
    return;
  }
  switch (value.kind) {
    case LX_NULL: lx__put_nil(b); break;
    case LX_BOOL: *lx__extend(b, 1) = value.boolean ? 0xc3 : 0xc2; break;
    case LX_INT: lx__put_int(b, value.integer); break;
    case LX_FLOAT:
      if (!__builtin_isfinite(value.number))
        lx__refuse_value("a number that is not finite cannot leave a run");
      lx__put_float(b, value.number);
      break;
    case LX_TEXT: lx__put_checked_text(b, (lx_str){value.text, value.length}); break;
    case LX_BYTES: lx__put_bytes(b, (lx_str){value.text, value.length}); break;
    case LX_LIST:
      lx__put_array(b, value.length);
      for (uint32_t i = 0; i < value.length && !lx_failed(); i++)
        lx__put_value(b, value.items[i], depth + 1);
      break;
    case LX_MAP:
      lx__put_map(b, value.length);
      for (uint32_t i = 0; i < value.length && !lx_failed(); i++) {
        lx__put_checked_text(b, value.members[i].key);
        lx__put_value(b, value.members[i].value, depth + 1);
      }
      break;
    default: lx__refuse_value("a big value cannot be copied; read it with lx_open_reader");
  }
}

LX_API lx_str lx_encode(lx_value value) {
  lx__buffer b = {NULL, 0, 0};
  lx__put_value(&b, value, 1);
  return lx_failed() ? LX("") : (lx_str){(const char *)b.bytes, (uint32_t)b.length};
}

/* ---- reading ---- */

LX_API uint64_t lx__take_number(lx__input *in, int bytes) {
  uint64_t number = 0;
  if (in->end - in->at < bytes) {
    in->is_broken = true;
    in->at = in->end;
    return 0;
  }
  while (bytes-- > 0) number = number << 8 | *in->at++;
  return number;
}

LX_API lx_str lx__take_bytes(lx__input *in, uint64_t length) {
  const char *at = (const char *)in->at;
  if ((uint64_t)(in->end - in->at) < length) {
    in->is_broken = true;
    in->at = in->end;
    return LX("");
  }
  in->at += length;
  return (lx_str){at, (uint32_t)length};
}

LX_API lx_value lx__take_value(lx__input *in, int depth);

LX_API lx_value lx__take_list(lx__input *in, uint64_t count, int depth) {
  lx_value list = lx_list();
  if (count > (uint64_t)(in->end - in->at) || depth > LX__DEPTH_MAX) in->is_broken = true;
  if (in->is_broken) return list;
  list.items = lx_alloc((size_t)count * sizeof *list.items);
  list.room = (uint32_t)count;
  while (list.length < count && !in->is_broken)
    list.items[list.length++] = lx__take_value(in, depth + 1);
  return list;
}

LX_API lx_value lx__take_map(lx__input *in, uint64_t count, int depth) {
  lx_value map = lx_map();
  if (count > (uint64_t)(in->end - in->at) / 2 || depth > LX__DEPTH_MAX) in->is_broken = true;
  if (in->is_broken) return map;
  map.members = lx_alloc((size_t)count * sizeof *map.members);
  map.room = (uint32_t)count;
  while (count-- > 0 && !in->is_broken) {
    lx_value key = lx__take_value(in, depth + 1);
    if (key.kind != LX_TEXT) in->is_broken = true;
    else lx_set(&map, (lx_str){key.text, key.length}, lx__take_value(in, depth + 1));
  }
  return map;
}

LX_API lx_value lx__take_float(lx__input *in, int bytes) {
  uint64_t bits = lx__take_number(in, bytes);
  if (bytes == 4) {
    uint32_t half = (uint32_t)bits;
    float number;
    __builtin_memcpy(&number, &half, sizeof number);
    return lx_float((double)number);
  }
  double number;
  __builtin_memcpy(&number, &bits, sizeof number);
  return lx_float(number);
}

/* Reads what begins with one of 0xc0 ... 0xdf. Texts and bytes stay where they are. */
LX_API lx_value lx__take_tagged(lx__input *in, uint8_t tag, int depth) {
  switch (tag) {
    case 0xc0: return lx_null();
    case 0xc2: return lx_bool(false);
    case 0xc3: return lx_bool(true);
    case 0xc4: case 0xc5: case 0xc6:
      return lx_bytes(lx__take_bytes(in, lx__take_number(in, 1 << (tag - 0xc4))));
    case 0xc7: { /* the one extension there is: a big value */
      uint64_t length = lx__take_number(in, 1);
      lx__take_number(in, 1);
      lx_value big = lx_bytes(lx__take_bytes(in, length));
      big.kind = LX_BIG;
      return big;
    }
    case 0xca: return lx__take_float(in, 4);
    case 0xcb: return lx__take_float(in, 8);
    case 0xcc: case 0xcd: case 0xce: case 0xcf:
      return lx_int((int64_t)lx__take_number(in, 1 << (tag - 0xcc)));
    case 0xd0: return lx_int((int8_t)lx__take_number(in, 1));
    case 0xd1: return lx_int((int16_t)lx__take_number(in, 2));
    case 0xd2: return lx_int((int32_t)lx__take_number(in, 4));
    case 0xd3: return lx_int((int64_t)lx__take_number(in, 8));
    case 0xd9: case 0xda: case 0xdb:
      return lx_text(lx__take_bytes(in, lx__take_number(in, 1 << (tag - 0xd9))));
    case 0xdc: case 0xdd: return lx__take_list(in, lx__take_number(in, tag == 0xdc ? 2 : 4), depth);
    case 0xde: case 0xdf: return lx__take_map(in, lx__take_number(in, tag == 0xde ? 2 : 4), depth);
    default: in->is_broken = true; return lx_null();
  }
}

LX_API lx_value lx__take_value(lx__input *in, int depth) {
  uint8_t tag = (uint8_t)lx__take_number(in, 1);
  if (in->is_broken) return lx_null();
  if (tag < 0x80 || tag >= 0xe0) return lx_int((int8_t)tag);
  if (tag < 0x90) return lx__take_map(in, tag & 15, depth);
  if (tag < 0xa0) return lx__take_list(in, tag & 15, depth);
  if (tag < 0xc0) return lx_text(lx__take_bytes(in, tag & 31));
  return lx__take_tagged(in, tag, depth);
}

/* How many more values follow a value's first byte and length, as lists and maps have them. */
LX_API uint64_t lx__skip_head(lx__input *in) {
  uint8_t tag = (uint8_t)lx__take_number(in, 1);
  if (tag < 0x80 || tag >= 0xe0) return 0;
  if (tag < 0x90) return 2u * (tag & 15);
  if (tag < 0xa0) return tag & 15;
  if (tag == 0xdc || tag == 0xdd) return lx__take_number(in, tag == 0xdc ? 2 : 4);
  if (tag == 0xde || tag == 0xdf) return 2 * lx__take_number(in, tag == 0xde ? 2 : 4);
  if (tag < 0xc0) lx__take_bytes(in, tag & 31);
  else lx__take_tagged(in, tag, 1);
  return 0;
}

/* Passes over one value; returns its bytes. */
LX_API lx_str lx__take_raw(lx__input *in) {
  const uint8_t *start = in->at;
  for (uint64_t left = 1; left > 0 && !in->is_broken; left--) left += lx__skip_head(in);
  return (lx_str){(const char *)start, (uint32_t)(in->at - start)};
}

/* Takes the count of an array. */
LX_API uint32_t lx__take_count(lx__input *in) {
  uint8_t tag = (uint8_t)lx__take_number(in, 1);
  if (tag >= 0x90 && tag < 0xa0) return tag & 15;
  if (tag == 0xdc || tag == 0xdd) return (uint32_t)lx__take_number(in, tag == 0xdc ? 2 : 4);
  in->is_broken = true;
  return 0;
}

LX_API lx_value lx_decode(lx_str bytes) {
  lx__input in = {(const uint8_t *)bytes.at, (const uint8_t *)bytes.at + bytes.length, false};
  lx_value value = lx__take_value(&in, 1);
  if (!in.is_broken && in.at == in.end) return value;
  return lx_fail_at(LX(""), LX("bytes that are no value"), lx_null(), NULL, 0, NULL);
}
