/*
** inbox.c - where the host puts messages before it calls lx_load or lx_run, and how results are
** given back: MessagePack at (pointer << 32 | length).
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

static uint8_t inbox[LX_INBOX_BYTES];
static uint8_t *big_inbox = NULL;
static size_t big_inbox_bytes = 0;
static uint8_t *current_inbox = inbox;

LxReader lx_input;

LX_EXPORT("lx_inbox") void *lx_inbox(void) {
  return inbox;
}

/* Returns where a message of `len` bytes is to be put, or NULL when there is no memory for it. */
LX_EXPORT("lx_reserve") void *lx_reserve(uint32_t len) {
  current_inbox = inbox;
  if (len <= sizeof inbox) return inbox;
  if (len > big_inbox_bytes) {
    free(big_inbox);
    big_inbox = malloc(len);
    big_inbox_bytes = big_inbox != NULL ? len : 0;
  }
  current_inbox = big_inbox;
  return big_inbox;
}

/* The message of the call that begins; the next one is in the static inbox unless told. */
void lx_open_input(uint32_t len) {
  lx_input.at = current_inbox;
  lx_input.end = current_inbox + len;
  lx_input.is_lossy = 0;
  current_inbox = inbox;
}

/* Lets go of a large message that nobody reads any more. */
void lx_close_input(void) {
  free(big_inbox);
  big_inbox = NULL;
  big_inbox_bytes = 0;
}

uint64_t lx_pack_message(void) {
  return (uint64_t)(uintptr_t)lx_message.bytes << 32 | lx_message.len;
}

/* Memory was refused and nobody dealt with it: the end of the guest. The inbox says why. */
_Noreturn void lx_end_out_of_memory(void) {
  memcpy(inbox, "out of memory", 14);
  __builtin_trap();
}
