/*
** heap.c - QuickJS' memory: guests/shared/alloc.c, and an end where that refuses.
**
** A memory limit is an end from outside like every limit: nothing inside can catch it, and no code
** has to carry on with half an object. So no allocation below ever gives NULL.
*/
#include "lx.h"

void *lx_need(void *block) {
  if (block == NULL) lx_end_out_of_memory();
  return block;
}

static void *heap_malloc(void *unused, size_t bytes) {
  (void)unused;
  return lx_need(lx_malloc(bytes));
}

static void *heap_calloc(void *unused, size_t count, size_t bytes) {
  (void)unused;
  return lx_need(lx_calloc(count, bytes));
}

static void *heap_realloc(void *unused, void *block, size_t bytes) {
  (void)unused;
  return lx_need(lx_realloc(block, bytes));
}

static void heap_free(void *unused, void *block) {
  (void)unused;
  lx_free(block);
}

const JSMallocFunctions lx_heap = {heap_calloc, heap_malloc, heap_free, heap_realloc,
                                   lx_usable_size};

/* Returns a copy that lives to the end of the run (the image's restore frees it). */
void *lx_copy(const void *bytes, size_t len) {
  void *copy = lx_need(lx_malloc(len ? len : 1));
  memcpy(copy, bytes, len);
  return copy;
}

/* Makes room for one more item of `bytes` bytes; twice as many each time. */
void *lx_grow(void *items, uint32_t count, uint32_t *cap, size_t bytes) {
  if (count < *cap) return items;
  *cap = *cap ? *cap * 2 : 16;
  return lx_need(lx_realloc(items, *cap * bytes));
}
