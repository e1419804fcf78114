/* Tells callgrind where a piece of work begins and ends, so that starting Python is not counted.
 * Built beside the compiled interpreters when the guard needs it; without valgrind it does nothing. */
#include <valgrind/callgrind.h>

void lithox_mark_begin(void) {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

void lithox_mark_end(const char *name) {
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}
