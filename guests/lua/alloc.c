/*
** alloc.c - Lua's memory.
*/
#include <stdlib.h>

#include "lx.h"

void *lx_alloc(void *unused, void *block, size_t old_bytes, size_t new_bytes) {
  (void)unused, (void)old_bytes;
  if (new_bytes == 0) {
    free(block);
    return NULL;
  }
  return realloc(block, new_bytes);
}
