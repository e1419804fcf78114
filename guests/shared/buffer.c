/*
** buffer.c - growing bytes outside Lua's own heap, for messages and copies.
** Memory that cannot be had is the Lua error "not enough memory".
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

#include "lstate.h"

#include "ldo.h"
#include "lgc.h"

static uint8_t first_bytes[4096];

LxBuffer lx_message = {first_bytes, 0, sizeof first_bytes, 0};

/* Raises Lua's own memory error, whose text is made in advance. */
_Noreturn void lx_no_memory(lua_State *L) {
  luaD_throw(L, LUA_ERRMEM);
  __builtin_unreachable();
}

/* Makes room for `more` bytes, half as much again each time, so that n bytes cost O(n). */
void lx_buffer_reserve(lua_State *L, LxBuffer *buffer, size_t more) {
  size_t cap = buffer->cap;
  uint8_t *bytes;
  if (cap - buffer->len >= more) return;
  while (cap - buffer->len < more) {
    if (cap > SIZE_MAX / 4) lx_no_memory(L);
    cap += cap / 2;
  }
  bytes = realloc(buffer->is_heap ? buffer->bytes : NULL, cap);
  if (bytes == NULL) {
#if LUA_VERSION_NUM > 501 /* 5.1's would run finalizers */
    luaC_fullgc(L, 1); /* as for Lua's own blocks; runs no finalizers */
#endif
    bytes = realloc(buffer->is_heap ? buffer->bytes : NULL, cap);
    if (bytes == NULL) lx_no_memory(L);
  }
  if (!buffer->is_heap) memcpy(bytes, buffer->bytes, buffer->len);
  buffer->bytes = bytes;
  buffer->cap = cap;
  buffer->is_heap = 1;
}

void lx_buffer_put(lua_State *L, LxBuffer *buffer, const void *bytes, size_t len) {
  lx_buffer_reserve(L, buffer, len);
  memcpy(buffer->bytes + buffer->len, bytes, len);
  buffer->len += len;
}

/* Returns a copy that lives to the end of the run (the image's restore frees it). */
void *lx_copy(lua_State *L, const void *bytes, size_t len) {
  void *copy = malloc(len ? len : 1);
  if (copy == NULL) lx_no_memory(L);
  memcpy(copy, bytes, len);
  return copy;
}
