/*
** engine.h - what engine.c gives of QuickJS' insides, and what it needs. Kept apart from lx.h:
** whatever stands here is compiled together with QuickJS, which takes half a minute.
*/
#ifndef engine_h
#define engine_h

#include "quickjs.h"

extern JSContext *lx_js; /* the only one */
extern const JSMallocFunctions lx_heap; /* heap.c */

/* Text as QuickJS keeps it: Latin-1, or UTF-16 with lone surrogates where there are any. */
typedef struct LxChars {
  const void *at;
  uint32_t len; /* of units */
  int is_wide;
} LxChars;

typedef struct LxProperty {
  LxChars name;
  JSValueConst value;
  uint8_t is_getter;
} LxProperty;

typedef enum {
  LX_KIND_OTHER, /* no value; see lx_class_name */
  LX_KIND_PLAIN, /* {...}: Object.prototype or null behind it */
  LX_KIND_INSTANCE, /* an object of a class written in JavaScript */
  LX_KIND_ARRAY,
  LX_KIND_BYTES, /* Uint8Array */
  LX_KIND_ERROR,
  LX_KIND_FUNCTION
} LxKind;

JSValue lx_flat_text(JSValueConst text, LxChars *out);
int lx_atom_chars(JSAtom atom, LxChars *out);
LxKind lx_kind_of(JSValueConst object);
const char *lx_class_name(JSValueConst object, size_t *len);
uint32_t lx_property_count(JSValueConst object);
int lx_property_at(JSValueConst object, uint32_t index, LxProperty *out);
int lx_own_property(JSValueConst object, const char *name, LxProperty *out);
int lx_list_values(JSValueConst array, JSValueConst **values, uint32_t *count);
int lx_list_element(JSValueConst array, uint32_t index, LxProperty *out);
uint32_t lx_list_length(JSValueConst array);
const uint8_t *lx_bytes_of(JSValueConst array, size_t *len);
JSValue lx_stack_of(JSValueConst error);
int lx_is_class(JSValueConst function);
void lx_seed_random(uint64_t seed);
JSRuntime *lx_new_runtime(void);
JSContext *lx_new_context(JSRuntime *runtime);
size_t lx_live_bytes(void);

#endif
