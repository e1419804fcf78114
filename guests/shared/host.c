/*
** host.c - the one system call, and what the host says about the run.
**
** Messages and answers are those of src/lithox/sandbox/messages.py. One call is made at a time.
*/
#include <stdlib.h>

#include "lx.h"

LxPhase lx_phase = LX_BOOTING;
int64_t lx_now_ms = 0;
uint64_t lx_seed = 0;

static uint8_t first_answer[1024];
static uint8_t *big_answer = NULL;

/* Begins the message [0, name, ...] of `count` elements in all. */
void lx_begin_message(lua_State *L, const char *name, size_t len, size_t count) {
  lx_message.len = 0;
  lx_put_array(L, &lx_message, count);
  lx_put_integer(L, &lx_message, 0);
  lx_put_string(L, &lx_message, name, len);
}

/* Sends lx_message and waits; `answer` is good until the next call. */
void lx_send_message(lua_State *L, LxReader *answer) {
  int32_t len;
  free(big_answer);
  big_answer = NULL;
  len = lx_host_call(lx_message.bytes, (int32_t)lx_message.len, first_answer, sizeof first_answer);
  answer->at = first_answer;
  if (len < 0) {
    len = -len;
    big_answer = malloc((size_t)len);
    if (big_answer == NULL) lx_no_memory(L);
    len = lx_host_call(NULL, 0, big_answer, len);
    answer->at = big_answer;
  }
  if (len < 0) lx_malformed(L);
  answer->end = answer->at + len;
  answer->is_lossy = 0;
}
