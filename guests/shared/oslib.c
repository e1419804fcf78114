/*
** oslib.c - Lua's os library without the operating system: time, date, clock, difftime.
** The rest of it is compiled against stand-ins and then not registered.
*/
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lx.h"

#undef lua_tmpnam /* 5.1 has them in luaconf.h */
#undef LUA_TMPNAMBUFSIZE
#define lua_tmpnam(buffer, failed) ((void)(buffer), (failed) = 1)
#define LUA_TMPNAMBUFSIZE 4
#define l_system(command) ((void)(command), 0)
#define system(command) ((void)(command), 0)
#define remove(name) ((void)(name), -1)
#define rename(from, to) ((void)(from), (void)(to), -1)
#define getenv(name) ((void)(name), (char *)NULL)
#define setlocale(category, name) ((void)(name), (char *)NULL)
#include "loslib.c"

static int fuel_clock(lua_State *L) {
  lua_pushnumber(L, lx_fuel_seconds(L));
  return 1;
}

int lx_open_os(lua_State *L) {
  static const luaL_Reg functions[] = {{"clock", fuel_clock},
                                       {"date", os_date},
                                       {"difftime", os_difftime},
                                       {"time", os_time},
                                       {NULL, NULL}};
  (void)syslib;
  luaL_newlib(L, functions);
  return 1;
}
