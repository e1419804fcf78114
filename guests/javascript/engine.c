/*
** engine.c - QuickJS-NG itself, and what the shim needs of its insides.
**
** Values are written and compared after every run, so they are looked at where they lie: text
** without a copy, properties without calling anything. None of these functions runs JavaScript, so
** nothing changes under the writer's hands. They depend on the layout of one pinned version, and
** are all in this file.
*/
#include "quickjs.c"

#include "engine.h"

/* C stack QuickJS may use before it throws RangeError. What lies below serves the shim's own
** functions. Measured by tests/conformance/javascript/test_hostile.py. */
#define LX_STACK_BYTES (160u << 10)
/* How much may be allocated after the module was loaded before cycles are looked for. */
#define LX_GC_SLACK_BYTES (256u << 10)

static void set_chars(JSString *text, LxChars *out) {
  out->at = strv(text);
  out->len = text->len;
  out->is_wide = text->is_wide_char;
}

/* Gives the characters of a string value. The caller frees what is returned when it is done with
** them: a rope (a string put together of parts) is made whole first. */
JSValue lx_flat_text(JSValueConst text, LxChars *out) {
  JSValue flat = JS_VALUE_GET_TAG(text) == JS_TAG_STRING ? js_dup(text)
                                                         : js_linearize_string_rope(lx_js, text);
  set_chars(JS_VALUE_GET_STRING(flat), out);
  return flat;
}

/* Gives the characters of a property's name, good until the next call; 0 for a symbol. */
int lx_atom_chars(JSAtom atom, LxChars *out) {
  static char digits[16];
  JSAtomStruct *text;
  if (__JS_AtomIsTaggedInt(atom)) {
    out->len = (uint32_t)u32toa(digits, __JS_AtomToUInt32(atom));
    out->at = digits;
    out->is_wide = 0;
    return 1;
  }
  text = lx_js->rt->atom_array[atom];
  if (text->atom_type != JS_ATOM_TYPE_STRING) return 0;
  set_chars(text, out);
  return 1;
}

LxKind lx_kind_of(JSValueConst object) {
  const JSObject *p = JS_VALUE_GET_OBJ(object);
  switch (p->class_id) {
    case JS_CLASS_OBJECT:
      return p->shape->proto == NULL ||
                     p->shape->proto == JS_VALUE_GET_OBJ(lx_js->class_proto[JS_CLASS_OBJECT])
                 ? LX_KIND_PLAIN
                 : LX_KIND_INSTANCE;
    case JS_CLASS_ARRAY: return LX_KIND_ARRAY;
    case JS_CLASS_UINT8_ARRAY: return LX_KIND_BYTES;
    case JS_CLASS_ERROR: return LX_KIND_ERROR;
    default: return JS_IsFunction(lx_js, object) ? LX_KIND_FUNCTION : LX_KIND_OTHER;
  }
}

/* Returns what kind of object it is, ASCII. */
const char *lx_class_name(JSValueConst object, size_t *len) {
  const JSClass *kind = &lx_js->rt->class_array[JS_VALUE_GET_OBJ(object)->class_id];
  LxChars name;
  if (!lx_atom_chars(kind->class_name, &name) || name.is_wide) {
    *len = 6;
    return "Object";
  }
  *len = name.len;
  return name.at;
}

/* How many places for properties an object has; some are empty. */
uint32_t lx_property_count(JSValueConst object) {
  return (uint32_t)JS_VALUE_GET_OBJ(object)->shape->prop_count;
}

static void set_property(JSObject *p, uint32_t index, uint32_t flags, LxProperty *out) {
  out->is_getter = (flags & JS_PROP_TMASK) != JS_PROP_NORMAL;
  out->value = out->is_getter ? JS_UNDEFINED : p->prop[index].u.value;
}

/* Gives the property at place `index` if it is an enumerable one with a text as its name. The name
** is kept by the object, but for whole numbers: see lx_atom_chars. */
int lx_property_at(JSValueConst object, uint32_t index, LxProperty *out) {
  JSObject *p = JS_VALUE_GET_OBJ(object);
  JSShapeProperty *prs = &get_shape_prop(p->shape)[index];
  if (prs->atom == JS_ATOM_NULL || !(prs->flags & JS_PROP_ENUMERABLE)) return 0;
  if (!lx_atom_chars(prs->atom, &out->name)) return 0;
  set_property(p, index, prs->flags, out);
  return 1;
}

/* Gives an own property by its name, enumerable or not. */
int lx_own_property(JSValueConst object, const char *name, LxProperty *out) {
  JSObject *p = JS_VALUE_GET_OBJ(object);
  JSProperty *pr;
  JSAtom atom = JS_NewAtom(lx_js, name);
  JSShapeProperty *prs = find_own_property(&pr, p, atom);
  JS_FreeAtom(lx_js, atom);
  if (prs == NULL) return 0;
  set_property(p, (uint32_t)(pr - p->prop), prs->flags, out);
  return 1;
}

uint32_t lx_list_length(JSValueConst array) {
  double length = 0;
  JS_ToFloat64(lx_js, &length, JS_VALUE_GET_OBJ(array)->prop[0].u.value); /* always a number */
  return (uint32_t)length;
}

/* Gives the elements of an array that keeps them in a row without holes, as nearly all do. */
int lx_list_values(JSValueConst array, JSValueConst **values, uint32_t *count) {
  JSObject *p = JS_VALUE_GET_OBJ(array);
  if (!p->fast_array || p->u.array.count != lx_list_length(array)) return 0;
  *values = p->u.array.u.values;
  *count = p->u.array.count;
  return 1;
}

/* Gives an element of any other array; 0 for a hole. */
int lx_list_element(JSValueConst array, uint32_t index, LxProperty *out) {
  JSObject *p = JS_VALUE_GET_OBJ(array);
  JSProperty *pr;
  JSAtom atom;
  JSShapeProperty *prs;
  if (p->fast_array) {
    if (index >= p->u.array.count) return 0;
    out->value = p->u.array.u.values[index];
    out->is_getter = 0;
    return 1;
  }
  atom = JS_NewAtomUInt32(lx_js, index);
  prs = find_own_property(&pr, p, atom);
  JS_FreeAtom(lx_js, atom);
  if (prs == NULL) return 0;
  set_property(p, (uint32_t)(pr - p->prop), prs->flags, out);
  return 1;
}

/* Gives what a Uint8Array shows; a detached one shows nothing. */
const uint8_t *lx_bytes_of(JSValueConst array, size_t *len) {
  JSObject *p = JS_VALUE_GET_OBJ(array);
  *len = p->u.array.count;
  return p->u.array.u.uint8_ptr;
}

/* Returns the stack an error remembers: text, or undefined. */
JSValue lx_stack_of(JSValueConst error) {
  JSObject *p = JS_VALUE_GET_OBJ(error);
  JSValue stack = p->class_id == JS_CLASS_ERROR ? p->u.object_data : JS_UNDEFINED;
  return JS_IsString(stack) ? js_dup(stack) : JS_UNDEFINED;
}

/* Is the function a class, which cannot be called? Of those alone `prototype` cannot be set. */
int lx_is_class(JSValueConst function) {
  JSObject *p = JS_VALUE_GET_OBJ(function);
  JSProperty *pr;
  JSShapeProperty *prs = find_own_property(&pr, p, JS_ATOM_prototype);
  return prs != NULL && p->class_id == JS_CLASS_BYTECODE_FUNCTION &&
         !(prs->flags & JS_PROP_WRITABLE);
}

/* Begins a run's randomness, Math.random(). */
void lx_seed_random(uint64_t seed) {
  lx_js->random_state = seed != 0 ? seed : 1;
  xorshift64star(&lx_js->random_state);
}

JSRuntime *lx_new_runtime(void) {
  JSRuntime *runtime = JS_NewRuntime2(&lx_heap, NULL);
  JS_SetMaxStackSize(runtime, LX_STACK_BYTES);
  return runtime;
}

/* Makes a context of the language alone: no weak references, whose fate would show when memory is
** looked through, and no `performance`. */
JSContext *lx_new_context(JSRuntime *runtime) {
  JSContext *ctx = JS_NewContextRaw(runtime);
  if (JS_AddIntrinsicBaseObjects(ctx) || JS_AddIntrinsicDate(ctx) || JS_AddIntrinsicEval(ctx) ||
      JS_AddIntrinsicRegExp(ctx) || JS_AddIntrinsicJSON(ctx) || JS_AddIntrinsicProxy(ctx) ||
      JS_AddIntrinsicMapSet(ctx) || JS_AddIntrinsicTypedArrays(ctx) ||
      JS_AddIntrinsicPromise(ctx) || JS_AddIntrinsicAToB(ctx))
    return NULL;
  return ctx;
}

/* Cleans up after boot or load, and says when memory is to be looked through next. */
size_t lx_live_bytes(void) {
  JSRuntime *runtime = lx_js->rt;
  JS_RunGC(runtime);
  runtime->malloc_gc_threshold = runtime->malloc_state.malloc_size + LX_GC_SLACK_BYTES;
  return runtime->malloc_state.malloc_size;
}
