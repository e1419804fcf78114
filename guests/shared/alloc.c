/*
** alloc.c - the heap: everything between the C stack's data and the end of memory.
**
** It uses the rest of the initial memory before it asks for more, because the host copies the
** initial memory before each run and drops a guest that has grown. Blocks carry boundary tags, so
** neighbours that are free are joined; small blocks skip that at first and wait in stacks of one
** size ("quick"), which are emptied into the ordinary lists before memory is asked for.
**
**   block in use:  head | payload ............................
**   free block:    head | next | previous | .......... | size
**   head:          size in bytes (a multiple of 8) | IN_USE | PREVIOUS_IN_USE
**
** Payloads are 8-aligned, so a block begins 4 before a multiple of 8. Behind the last block lies
** `top`, memory that was never used or has come back; no free block touches it.
*/
#include <stdint.h>
#include <string.h>

#include "lx.h"

enum { IN_USE = 1, PREVIOUS_IN_USE = 2, FLAGS = 7 };

#define BLOCK_BYTES_MIN 16u
#define QUICK_BYTES_MAX 256u
#define SMALL_BYTES_MAX 512u /* below it one list a size, above it four a power of two */
#define PAGE_BYTES 65536u
#define REQUEST_BYTES_MAX 0x7fff0000u
#define LIST_COUNT 160
#define LIST_LOOKS_MAX 16 /* blocks of the own list looked at before a larger one is cut */

typedef struct Block {
  uint32_t head;
  struct Block *next, *previous; /* of a free block; `next` also of a quick one */
} Block;

extern unsigned char __heap_base; /* from the linker */

static Block *lists[LIST_COUNT];
static uint32_t filled[LIST_COUNT / 32]; /* a bit for each list that is not empty */
static Block *quick[QUICK_BYTES_MAX / 8 + 1];
static uintptr_t top = 0, top_end = 0; /* the unused end of memory */

static uint32_t size_of(const Block *block) {
  return block->head & ~(uint32_t)FLAGS;
}

static Block *block_at(uintptr_t address) {
  return (Block *)address;
}

static Block *after(const Block *block) {
  return block_at((uintptr_t)block + size_of(block));
}

static Block *block_of(void *payload) {
  return block_at((uintptr_t)payload - 4);
}

static void *payload_of(Block *block) {
  return (void *)((uintptr_t)block + 4);
}

static uint32_t block_bytes(size_t payload_bytes) {
  uint32_t size = ((uint32_t)payload_bytes + 4 + 7) & ~7u;
  return size < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : size;
}

/* ---- lists of free blocks ---- */

static uint32_t list_of(uint32_t size) {
  uint32_t log;
  if (size < SMALL_BYTES_MAX) return size / 8;
  log = 31 - (uint32_t)__builtin_clz(size);
  return SMALL_BYTES_MAX / 8 + (log - 9) * 4 + ((size >> (log - 2)) & 3);
}

static void link_block(Block *block) {
  uint32_t list = list_of(size_of(block));
  block->next = lists[list];
  block->previous = NULL;
  if (lists[list] != NULL) lists[list]->previous = block;
  lists[list] = block;
  filled[list / 32] |= 1u << (list % 32);
}

static void unlink_block(Block *block) {
  uint32_t list = list_of(size_of(block));
  if (block->next != NULL) block->next->previous = block->previous;
  if (block->previous != NULL) block->previous->next = block->next;
  else if ((lists[list] = block->next) == NULL) filled[list / 32] &= ~(1u << (list % 32));
}

/* Returns the first list from `list` on that is not empty, or LIST_COUNT. */
static uint32_t first_filled(uint32_t list) {
  uint32_t word = list / 32, bits;
  if (list >= LIST_COUNT) return LIST_COUNT;
  bits = filled[word] & (~0u << (list % 32));
  while (bits == 0) {
    if (++word == LIST_COUNT / 32) return LIST_COUNT;
    bits = filled[word];
  }
  return word * 32 + (uint32_t)__builtin_ctz(bits);
}

/* ---- freeing ---- */

/* Makes [start, start + size) a free block, joined with its neighbours; the one before it is in
** use, or was joined already. */
static void make_free(uintptr_t start, uint32_t size) {
  uintptr_t end = start + size;
  Block *block = block_at(start);
  if (end == top) {
    top = start;
    return;
  }
  if (!(block_at(end)->head & IN_USE)) {
    unlink_block(block_at(end));
    size += size_of(block_at(end));
    end = start + size;
    if (end == top) {
      top = start;
      return;
    }
  }
  block->head = size | PREVIOUS_IN_USE;
  *(uint32_t *)(end - 4) = size;
  block_at(end)->head &= ~(uint32_t)PREVIOUS_IN_USE;
  link_block(block);
}

static void free_block(Block *block) {
  uintptr_t start = (uintptr_t)block;
  uint32_t size = size_of(block);
  if (!(block->head & PREVIOUS_IN_USE)) {
    uint32_t before = *(uint32_t *)(start - 4);
    start -= before;
    size += before;
    unlink_block(block_at(start));
  }
  make_free(start, size);
}

/* Empties the quick stacks into the lists; returns whether there was anything. */
static int empty_quick(void) {
  int any = 0;
  for (uint32_t i = 0; i <= QUICK_BYTES_MAX / 8; i++) {
    while (quick[i] != NULL) {
      Block *block = quick[i];
      quick[i] = block->next;
      free_block(block);
      any = 1;
    }
  }
  return any;
}

void lx_free(void *payload) {
  Block *block;
  uint32_t size;
  if (payload == NULL) return;
  block = block_of(payload);
  size = size_of(block);
  if (size <= QUICK_BYTES_MAX) {
    block->next = quick[size / 8];
    quick[size / 8] = block;
  }
  else free_block(block);
}

/* ---- allocating ---- */

/* Takes the first `size` bytes of a block that is in no list, and frees the rest. */
static void *cut(Block *block, uint32_t whole, uint32_t size) {
  uint32_t flags = (block->head & PREVIOUS_IN_USE) | IN_USE;
  if (whole - size >= BLOCK_BYTES_MIN) {
    block->head = size | flags;
    make_free((uintptr_t)block + size, whole - size);
    return payload_of(block);
  }
  block->head = whole | flags;
  if ((uintptr_t)block + whole != top) after(block)->head |= PREVIOUS_IN_USE;
  return payload_of(block);
}

static void *take_listed(uint32_t size) {
  uint32_t list = list_of(size);
  Block *block;
  if (size >= SMALL_BYTES_MAX) { /* blocks of this list may be smaller than asked */
    block = lists[list];
    for (int looks = 0; block != NULL && looks < LIST_LOOKS_MAX; looks++) {
      if (size_of(block) >= size) {
        unlink_block(block);
        return cut(block, size_of(block), size);
      }
      block = block->next;
    }
    list++;
  }
  list = first_filled(list);
  if (list == LIST_COUNT) return NULL;
  block = lists[list];
  unlink_block(block);
  return cut(block, size_of(block), size);
}

static void *take_top(uint32_t size) {
  Block *block = block_at(top);
  if (top_end - top < size) return NULL;
  block->head = size | PREVIOUS_IN_USE | IN_USE;
  top += size;
  return payload_of(block);
}

/* Asks the host for memory so that top has `size` bytes; an eighth more than there is now, so that
** it is asked seldom, or just enough when that is refused. */
static int grow_top(uint32_t size) {
  uint32_t missing = size - (uint32_t)(top_end - top);
  uint32_t pages = (missing + PAGE_BYTES - 1) / PAGE_BYTES;
  uint32_t generous = (uint32_t)__builtin_wasm_memory_size(0) / 8;
  if (generous > pages && __builtin_wasm_memory_grow(0, generous) != (size_t)-1) pages = generous;
  else if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
  top_end += (uintptr_t)pages * PAGE_BYTES;
  return 1;
}

static void open_heap(void) {
  top = (((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7) + 4;
  top_end = __builtin_wasm_memory_size(0) * (uintptr_t)PAGE_BYTES - 8;
}

void *lx_malloc(size_t bytes) {
  uint32_t size;
  void *payload;
  if (bytes > REQUEST_BYTES_MAX) return NULL;
  size = block_bytes(bytes);
  if (size <= QUICK_BYTES_MAX && quick[size / 8] != NULL) {
    Block *block = quick[size / 8];
    quick[size / 8] = block->next;
    return payload_of(block);
  }
  if (top == 0) open_heap();
  if ((payload = take_listed(size)) != NULL) return payload;
  if ((payload = take_top(size)) != NULL) return payload;
  if (empty_quick()) {
    if ((payload = take_listed(size)) != NULL) return payload;
    if ((payload = take_top(size)) != NULL) return payload;
  }
  if (!grow_top(size)) return NULL;
  return take_top(size);
}

void *lx_calloc(size_t count, size_t bytes) {
  void *payload;
  if (bytes != 0 && count > REQUEST_BYTES_MAX / bytes) return NULL;
  payload = lx_malloc(count * bytes);
  if (payload != NULL) memset(payload, 0, count * bytes);
  return payload;
}

/* Makes a block in use `size` bytes where it stands; returns 0 if its neighbours leave no room. */
static int resize(Block *block, uint32_t size) {
  uint32_t whole = size_of(block);
  if (whole < size) {
    Block *next = after(block);
    if ((uintptr_t)next == top) {
      if (top_end - top < size - whole) return 0;
      top += size - whole;
      block->head += size - whole;
      return 1;
    }
    if ((next->head & IN_USE) || whole + size_of(next) < size) return 0;
    unlink_block(next);
    whole += size_of(next);
  }
  cut(block, whole, size);
  return 1;
}

void *lx_realloc(void *payload, size_t bytes) {
  Block *block = block_of(payload);
  uint32_t size, old_size;
  void *moved;
  if (payload == NULL) return lx_malloc(bytes);
  if (bytes > REQUEST_BYTES_MAX) return NULL;
  size = block_bytes(bytes);
  old_size = size_of(block);
  if (size == old_size) return payload;
  if ((size > QUICK_BYTES_MAX || old_size > QUICK_BYTES_MAX) && resize(block, size)) return payload;
  moved = lx_malloc(bytes);
  if (moved == NULL) return size < old_size ? payload : NULL;
  memcpy(moved, payload, (size < old_size ? size : old_size) - 4);
  lx_free(payload);
  return moved;
}

/* Returns how many bytes a block can hold. */
size_t lx_usable_size(const void *payload) {
  if (payload == NULL) return 0;
  return size_of(block_of((void *)payload)) - 4;
}
