/*
** mathlib.c - Lua's math library, with the run's seed in the place of time and addresses.
** Included rather than linked, because the generator's functions are private to it.
*/
#include <time.h>

#include "lx.h"

/* What math.randomseed() without arguments takes its seed from. */
static time_t next_seed(void) {
  lx_seed = lx_seed * 6364136223846793005u + 1442695040888963407u;
  return (time_t)lx_seed;
}

#undef time
#define time(ignored) next_seed()
#include "lmathlib.c"

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
