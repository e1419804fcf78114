/*
** mathlib.c - Lua's math library, with the run's seed in the place of time and addresses.
** Included rather than linked, because the generator's functions are private to it. 5.1 to 5.3
** draw from C's rand, whose state is memory like any other.
*/
#include <stdlib.h>
#include <time.h>

#include "lx.h"

/* What math.randomseed() without arguments takes its seed from. */
static uint64_t next_seed(void) {
  lx_seed = lx_seed * 6364136223846793005u + 1442695040888963407u;
  return lx_seed;
}

#undef time
#define time(ignored) (time_t)next_seed()
#define luaL_makeseed(L) next_seed()
#include "lmathlib.c"

#if LUA_VERSION_NUM >= 504

static RanState *generator;

int lx_open_math(lua_State *L) {
  luaopen_math(L);
  lua_getfield(L, -1, "random");
  lua_getupvalue(L, -1, 1);
  generator = lua_touserdata(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_RANDOM);
  lua_pop(L, 1);
  return 1;
}

/* Begins a run's randomness from lx_seed. */
void lx_reseed(lua_State *L) {
  setseed(L, generator->s, lx_seed, 0);
  lua_pop(L, 2);
}

#else

int lx_open_math(lua_State *L) {
  (void)next_seed;
  return luaopen_math(L);
}

void lx_reseed(lua_State *L) {
  (void)L;
  srand((unsigned)(lx_seed ^ lx_seed >> 32));
}

#endif
