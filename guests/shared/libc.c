/*
** libc.c - what stands in for an operating system: a clock that stands still at the run's start,
** no files, and an end that is a trap. lx_config.h puts these names in the place of C's.
*/
#include <math.h>

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

/* ---- numbers into text ---- */

/* Writes what "%lld" does, with the zero at its end; returns the length. */
int lx_integer_text(char *to, long long value) {
  char digits[20];
  int count = 0, len = 0;
  unsigned long long rest = (unsigned long long)value;
  if (value < 0) rest = 0ull - rest;
  do {
    digits[count++] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) to[len++] = '-';
  while (count > 0) to[len++] = digits[--count];
  to[len] = '\0';
  return len;
}

/* Writes what "%.14g" does: below 1e14 a whole number has all its digits there. */
int lx_number_text(char *to, int bytes, double value) {
  if (value == floor(value) && fabs(value) < 1e14 && !(value == 0 && signbit(value)))
    return lx_integer_text(to, (long long)value);
  return snprintf(to, (size_t)bytes, "%.14g", value);
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
