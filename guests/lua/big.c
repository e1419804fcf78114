/*
** big.c - big values: self:reader(key) and self:writer(key), a piece at a time.
**
** A big value stands in state as MessagePack extension 2: [id, size, chunks, SHA-256]; its bytes
** are the host's. A reader is bound to a digest: when the key holds something else, reading it is
** refused, so no reader ever gives parts of two values. A writer collects up to LX_PIECE_BYTES
** before it asks the host, so many small writes cost little; what it wrote counts once it is
** closed. Neither has a finalizer: those make no system calls.
*/
#include <string.h>

#include "lx.h"

#define EXT_BIG 2
#define LX_DIGEST_BYTES 32
#define LX_PIECE_BYTES (64u << 10)  /* what a writer collects, and a read without a size gives */
#define LX_READ_BYTES (256u << 10)  /* most the host gives for one call */

typedef struct Big {
  int64_t size, position;
  int64_t token;     /* of a writer; 0: closed */
  size_t piece_len;  /* of a writer: collected in its user value */
  char digest[LX_DIGEST_BYTES * 2 + 1];
  size_t key_len;
  char key[];
} Big;

static const char reader_name[] = "lithox.reader", writer_name[] = "lithox.writer";
static int64_t last_token;

/* Does an encoded value stand for a big one? */
int lx_is_big(const uint8_t *bytes, size_t len) {
  return len > 3 && bytes[0] == 0xc7 && bytes[2] == EXT_BIG;
}

static Big *new_big(lua_State *L, const char *kind, const char *key, size_t key_len) {
  Big *big = lua_newuserdatauv(L, sizeof *big + key_len + 1, 1);
  memset(big, 0, sizeof *big);
  big->key_len = key_len;
  memcpy(big->key, key, key_len);
  big->key[key_len] = '\0';
  luaL_setmetatable(L, kind);
  return big;
}

/* Pushes the reader of the big value encoded at `value`, which stands under `key`. */
void lx_push_reader(lua_State *L, const char *key, size_t key_len, LxReader value) {
  static const char digits[] = "0123456789abcdef";
  Big *big = new_big(L, reader_name, key, key_len);
  const char *digest;
  size_t len;
  value.at += 3; /* 0xc7, length, type */
  if (lx_get_array(L, &value) != 4) lx_malformed(L);
  lx_skip(L, &value);
  big->size = lx_get_integer(L, &value);
  lx_skip(L, &value);
  digest = lx_get_string(L, &value, &len);
  if (len != LX_DIGEST_BYTES) lx_malformed(L);
  for (size_t i = 0; i < len; i++) {
    big->digest[i * 2] = digits[(uint8_t)digest[i] >> 4];
    big->digest[i * 2 + 1] = digits[(uint8_t)digest[i] & 15];
  }
}

/* ---- reading ---- */

/* self:reader(key) -> reader, or nil when there is no such key */
static int self_reader(lua_State *L) {
  LxReader answer;
  size_t len;
  const char *key;
  lx_check_self(L);
  key = lx_check_text(L, 2, &len);
  lx_begin_call(L, "blob_open", 2);
  lx_put_string(L, &lx_message, key, len);
  lx_state_put_writes(L, &lx_message);
  lx_make_call(L, &answer);
  if (lx_get_nil(&answer)) lua_pushnil(L);
  else lx_push_reader(L, key, len, answer);
  return 1;
}

/* Adds up to `size` bytes from the reader's place to `b`; returns how many came. */
static size_t read_piece(lua_State *L, Big *big, luaL_Buffer *b, size_t size) {
  LxReader answer;
  const char *bytes;
  size_t len;
  lx_begin_call(L, "blob_read", 4);
  lx_put_string(L, &lx_message, big->key, big->key_len);
  lx_put_string(L, &lx_message, big->digest, LX_DIGEST_BYTES * 2);
  lx_put_integer(L, &lx_message, big->position);
  lx_put_integer(L, &lx_message, (int64_t)size);
  lx_make_call(L, &answer);
  bytes = lx_get_string(L, &answer, &len);
  luaL_addlstring(b, bytes, len);
  big->position += (int64_t)len;
  return len;
}

/* reader:read([n]) -> the next n bytes (fewer at the end), or nil at the end */
static int reader_read(lua_State *L) {
  Big *big = luaL_checkudata(L, 1, reader_name);
  lua_Integer wanted = luaL_optinteger(L, 2, LX_PIECE_BYTES);
  const LxEntry *entry = lx_state_find(big->key, big->key_len);
  luaL_Buffer b;
  lx_check_callable(L);
  if (entry != NULL && (entry->flags & LX_LIVE)) /* assigned since; the host may not know yet */
    luaL_error(L, "the value under '%s' was replaced or deleted; open it again", big->key);
  luaL_argcheck(L, wanted >= 0, 2, "a number of bytes, 0 or more, expected");
  if (big->position >= big->size) {
    lua_pushnil(L);
    return 1;
  }
  if (wanted > big->size - big->position) wanted = big->size - big->position;
  luaL_buffinitsize(L, &b, (size_t)wanted);
  while (wanted > 0) {
    size_t len = read_piece(L, big, &b, wanted < LX_READ_BYTES ? (size_t)wanted : LX_READ_BYTES);
    if (len == 0) break;
    wanted -= (lua_Integer)len;
  }
  luaL_pushresult(&b);
  return 1;
}

/* reader:seek([offset]) -> where the next read begins; a place behind the end reads nil */
static int reader_seek(lua_State *L) {
  Big *big = luaL_checkudata(L, 1, reader_name);
  lua_Integer offset = luaL_optinteger(L, 2, (lua_Integer)big->position);
  luaL_argcheck(L, offset >= 0, 2, "an offset, 0 or more, expected");
  big->position = offset;
  lua_pushinteger(L, offset);
  return 1;
}

/* reader.size, reader.digest, and the methods in upvalue 1 */
static int reader_index(lua_State *L) {
  const Big *big = luaL_checkudata(L, 1, reader_name);
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(name, "size") == 0) lua_pushinteger(L, big->size);
  else if (strcmp(name, "digest") == 0) lua_pushstring(L, big->digest);
  else {
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
  }
  return 1;
}

/* ---- writing ---- */

/* self:writer(key) -> writer of a new value; the key keeps its old one until that is closed */
static int self_writer(lua_State *L) {
  size_t len;
  const char *key;
  lx_check_self(L);
  key = lx_check_text(L, 2, &len);
  new_big(L, writer_name, key, len)->token = ++last_token;
  return 1;
}

static Big *check_writer(lua_State *L) {
  Big *big = luaL_checkudata(L, 1, writer_name);
  lx_check_callable(L);
  if (big->token == 0) luaL_error(L, "the writer is closed");
  return big;
}

static void send_piece(lua_State *L, const Big *big, const char *bytes, size_t len) {
  LxReader answer;
  lx_begin_call(L, "blob_write", 3);
  lx_put_string(L, &lx_message, big->key, big->key_len);
  lx_put_integer(L, &lx_message, big->token);
  lx_put_bytes(L, &lx_message, bytes, len);
  lx_make_call(L, &answer);
}

/* Returns where the writer at index 1 collects. */
static char *open_piece(lua_State *L) {
  char *piece;
  if (lua_getiuservalue(L, 1, 1) == LUA_TUSERDATA) piece = lua_touserdata(L, -1);
  else {
    piece = lua_newuserdatauv(L, LX_PIECE_BYTES, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return piece;
}

/* writer:write(text, ...) -> the writer */
static int writer_write(lua_State *L) {
  Big *big = check_writer(L);
  int last = lua_gettop(L);
  for (int i = 2; i <= last; i++) {
    size_t len;
    const char *text = luaL_checklstring(L, i, &len);
    while (len > 0) {
      size_t room = LX_PIECE_BYTES - big->piece_len, part = len < room ? len : room;
      if (big->piece_len == 0 && len >= LX_PIECE_BYTES) send_piece(L, big, text, part);
      else {
        char *piece = open_piece(L);
        memcpy(piece + big->piece_len, text, part);
        big->piece_len += part;
        if (big->piece_len == LX_PIECE_BYTES) {
          big->piece_len = 0;
          send_piece(L, big, piece, LX_PIECE_BYTES);
        }
      }
      text += part;
      len -= part;
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* writer:close() -> digest; from now on the key holds what was written */
static int writer_close(lua_State *L) {
  Big *big = check_writer(L);
  LxReader answer;
  const char *digest;
  size_t len;
  if (big->piece_len > 0) send_piece(L, big, open_piece(L), big->piece_len);
  big->piece_len = 0;
  lx_begin_call(L, "blob_close", 2);
  lx_put_string(L, &lx_message, big->key, big->key_len);
  lx_put_integer(L, &lx_message, big->token);
  lx_make_call(L, &answer);
  big->token = 0;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
  digest = lx_get_string(L, &answer, &len);
  lua_pushlstring(L, digest, len);
  lx_state_replace(L, big->key, big->key_len, answer);
  return 1;
}

/* ---- opening ---- */

static const luaL_Reg reader_methods[] = {
    {"read", reader_read}, {"seek", reader_seek}, {NULL, NULL}};
static const luaL_Reg writer_methods[] = {
    {"write", writer_write}, {"close", writer_close}, {NULL, NULL}};
const luaL_Reg lx_big_methods[] = {
    {"reader", self_reader}, {"writer", self_writer}, {NULL, NULL}};

/* Makes the metatables of readers and writers. */
void lx_open_big(lua_State *L) {
  luaL_newmetatable(L, reader_name);
  luaL_newlib(L, reader_methods);
  lua_pushcclosure(L, reader_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  luaL_newmetatable(L, writer_name);
  luaL_newlib(L, writer_methods);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}
