/*
** lx_config.h - how Lua, 5.1 to 5.5, is set up for a guest; included before every file of the Lua
** sources. Everything here is a setting Lua leaves to its host; the Lua sources stay unchanged.
*/
#ifndef lx_config_h
#define lx_config_h

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Its settings for the core (l_likely, 5.2's arithmetic) are wanted by every file. */
#define LUA_CORE
#define lvm_c
#include "luaconf.h"
#undef LUA_CORE
#undef lvm_c

/* Whole numbers of 5.1 and 5.2 where a function wants one (string.format("%d"), lengths, times) are
** as wide as in a 64-bit build; a pointer's width, their default, would cut them at 2^31. */
#if LX_LUA_VERSION < 503
#undef LUA_INTEGER
#define LUA_INTEGER long long
#undef LUA_INTFRMLEN
#define LUA_INTFRMLEN "ll"
#undef LUA_INTFRM_T
#define LUA_INTFRM_T long long
#endif
/* 5.1 casts a double to `unsigned LUA_INTFRM_T`, which has no meaning below zero; on x86 -1 came
** out as all ones, and programs print addresses and masks so. Through `long long` it does here,
** too. */
#if LX_LUA_VERSION == 501
#undef LUA_INTFRM_T
#define LUA_INTFRM_T long long int)(long long
#endif

/* One fixed seed of string hashes: a run is a function of its inputs, and fuel bounds the harm
** that chosen collisions can do to the run that chose them. 5.1 has no seed. */
#if LX_LUA_VERSION == 504
#define luai_makeseed(L) 0x6c697468u
#else
#define luai_makeseed() 0x6c697468u
#endif

/* No signals: nothing interrupts a guest but the host, which needs no flag for it. */
#define l_signalT int

/* Nested C calls (gsub in gsub, metamethods, parser levels, resumed coroutines) end as the Lua
** error "C stack overflow" long before the stack in memory or the host's stack ends. Measured by
** tests/conformance/lua/test_hostile.py and tests/conformance/program/test_hostile.py. */
#undef LUAI_MAXCCALLS
#define LUAI_MAXCCALLS 110

/* First part of a string buffer on the C stack. Upstream has 512 on 32 bits; the smaller one keeps
** 110 levels of gsub within the stack and grows on the heap just as soon as it must. */
#undef LUAL_BUFFERSIZE
#define LUAL_BUFFERSIZE 128

/* Slots of one Lua stack. A runaway recursion must be the error "stack overflow" within the default
** 8 MiB of a handler: 100,000 slots and their calls take 5 MB while they grow. */
#undef LUAI_MAXSTACK
#define LUAI_MAXSTACK 100000 /* 5.1 has LUAI_MAXCALLS, 20,000 calls, instead */

/* There are no streams: `print` and warnings are the shim's own and go to the log, a panic is the
** end of the guest. */
#undef luai_writestring /* 5.2's names of the same */
#undef luai_writeline
#undef luai_writestringerror
#define luai_writestring(s, l) ((void)(s), (void)(l))
#define luai_writeline() ((void)0)
#define luai_writestringerror(s, p) ((void)(s), (void)(p))
#define lua_writestring(s, l) ((void)(s), (void)(l))
#define lua_writeline() ((void)0)
#define lua_writestringerror(s, p) ((void)(s), (void)(p))

/* What the C library would ask an operating system for is ours (libc.c), so that the module imports
** nothing but lithox.syscall; guests/build.py checks it. */
time_t lx_time(time_t *out);
clock_t lx_clock(void);
_Noreturn void lx_abort(void);
FILE *lx_fopen(const char *name, const char *mode);
FILE *lx_freopen(const char *name, const char *mode, FILE *file);
int lx_file_end(FILE *file);
size_t lx_fread(void *to, size_t size, size_t count, FILE *file);
/* The heap is ours too (alloc.c): the C library's takes 64 kB for every size of block. */
void *lx_malloc(size_t bytes);
void *lx_calloc(size_t count, size_t bytes);
void *lx_realloc(void *block, size_t bytes);
void lx_free(void *block);
#define malloc lx_malloc
#define calloc lx_calloc
#define realloc lx_realloc
#define free lx_free

#define time lx_time
#define clock lx_clock
#define abort lx_abort
#define exit(status) lx_abort() /* 5.1's end after a panic */
#define fopen lx_fopen
#define freopen lx_freopen
#define fread lx_fread
#define fclose lx_file_end
#undef getc
#define getc lx_file_end
#undef feof
#define feof lx_file_end
#undef ferror
#define ferror lx_file_end
#define ungetc(c, file) ((void)(c), (void)(file))
#undef fputs
#define fputs(text, file) ((void)(text))
#define fgets(to, bytes, file) ((char *)NULL)
#define fflush(file) ((void)0)
#if LX_LUA_VERSION == 501
#define fprintf(...) ((void)0)
#endif
#undef stdin
#define stdin ((FILE *)NULL)

/* Numbers into text: whole numbers without snprintf, which costs twenty times as much. */
int lx_integer_text(char *to, long long value);
int lx_number_text(char *to, int bytes, double value);
#undef lua_integer2str
#define lua_integer2str(to, bytes, value) ((void)(bytes), lx_integer_text((to), (value)))
#undef lua_number2str
#if LX_LUA_VERSION < 503
#define lua_number2str(to, value) lx_number_text((to), 32, (value)) /* LUAI_MAXNUMBER2STR */
#elif LX_LUA_VERSION < 505 /* 5.5 tries two formats itself */
#define lua_number2str(to, bytes, value) lx_number_text((to), (bytes), (value))
#endif

/* No locales. */
#undef lua_getlocaledecpoint
#define lua_getlocaledecpoint() '.'

#endif
