/*
** libc.c - what stands in for an operating system: a clock that stands still at the run's start,
** no files, and an end that is a trap. lx_config.h puts these names in the place of C's.
*/
#include "lx.h"

/* The run's start; a module that loads sees 1970. */
time_t lx_time(time_t *out) {
  time_t now = (time_t)(lx_now_ms / 1000);
  if (out != NULL) *out = now;
  return now;
}

/* Used by the stock os.clock, which nothing reaches. */
clock_t lx_clock(void) {
  return 0;
}

_Noreturn void lx_abort(void) {
  __builtin_trap();
}

/* ---- luaL_loadfilex is part of lauxlib.c and reached from nowhere; it would find no files ---- */

FILE *lx_fopen(const char *name, const char *mode) {
  (void)name, (void)mode;
  return NULL;
}

FILE *lx_freopen(const char *name, const char *mode, FILE *file) {
  (void)name, (void)mode, (void)file;
  return NULL;
}

/* fclose, getc, feof, ferror: there is nothing more. */
int lx_file_end(FILE *file) {
  (void)file;
  return EOF;
}

size_t lx_fread(void *to, size_t size, size_t count, FILE *file) {
  (void)to, (void)size, (void)count, (void)file;
  return 0;
}
