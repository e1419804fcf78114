/*
** libc.c - what stands in for an operating system: a clock that stands still at the run's start,
** in UTC, and an end that is a trap. qjs_config.h puts these names in the place of C's.
*/
#include "lx.h"

/* The run's start; a module that loads sees 1970. */
int lx_gettimeofday(struct timeval *out, void *zone) {
  (void)zone;
  out->tv_sec = (time_t)(lx_now_ms / 1000);
  out->tv_usec = (suseconds_t)(lx_now_ms % 1000 * 1000);
  return 0;
}

/* Used by `performance`, which nothing reaches. */
int lx_clock_gettime(int clock, struct timespec *out) {
  (void)clock;
  out->tv_sec = 0;
  out->tv_nsec = 0;
  return 0;
}

/* QuickJS asks for the offset from UTC alone. */
struct tm *lx_localtime_r(const time_t *time, struct tm *out) {
  (void)time;
  memset(out, 0, sizeof *out);
  return out;
}

_Noreturn void lx_abort(void) {
  __builtin_trap();
}
