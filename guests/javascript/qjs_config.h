/*
** qjs_config.h - how QuickJS-NG is set up for a guest; included before every file of its sources,
** which stay unchanged. What they would ask an operating system for is ours (libc.c), so that the
** module imports nothing but lithox.syscall; guests/build.py checks it.
*/
#ifndef qjs_config_h
#define qjs_config_h

#undef _GNU_SOURCE
#define _GNU_SOURCE 1
#undef NDEBUG
#define NDEBUG 1 /* takes away the dumps, too */

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* The heap (guests/shared/alloc.c). QuickJS gets it through functions that end the guest when
** memory is refused (heap.c): its own ways of carrying on without are not relied on. */
void *lx_malloc(size_t bytes);
void *lx_calloc(size_t count, size_t bytes);
void *lx_realloc(void *block, size_t bytes);
void lx_free(void *block);
size_t lx_usable_size(const void *block);
#define malloc lx_malloc
#define calloc lx_calloc
#define realloc lx_realloc
#define free lx_free
#define malloc_usable_size lx_usable_size

/* Time stands still at the run's start, in UTC; there are no streams; an end is a trap. */
int lx_gettimeofday(struct timeval *out, void *zone);
int lx_clock_gettime(int clock, struct timespec *out);
struct tm *lx_localtime_r(const time_t *time, struct tm *out);
_Noreturn void lx_abort(void);
#define gettimeofday lx_gettimeofday
#define clock_gettime(clock, out) lx_clock_gettime(0, (out))
#define localtime_r lx_localtime_r
#define abort lx_abort
#define printf(...) ((void)0)
#define fprintf(...) ((void)0)
#undef putchar
#define putchar(c) ((void)(c))
#undef fputc
#define fputc(c, file) ((void)(c), (void)(file))
#undef fputs
#define fputs(text, file) ((void)(text), (void)(file))
#undef fwrite
#define fwrite(from, size, count, file) ((void)(from), (void)(file))

#endif
