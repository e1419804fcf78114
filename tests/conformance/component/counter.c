/* A counter in C as a component: what wit-bindgen's C output does, by hand and for one handler.
 *
 * The canonical ABI: a text is (address, length); a result is its discriminant, 0 for ok, then the
 * value at the next multiple of 4. `run` returns the address of a `result<string, error>`. */

typedef unsigned int u32;
typedef struct { const char *at; u32 length; } text;
typedef struct { u32 is_error; text ok; u32 rest[6]; } result_text;
typedef struct { u32 is_error; u32 is_there; text some; u32 rest[5]; } result_maybe_text;
typedef struct { u32 is_error; u32 rest[8]; } result_nothing;

#define HOST(name) __attribute__((import_module("host"), import_name(name)))
HOST("get") void host_get(const char *key, u32 length, result_maybe_text *out);
HOST("put") void host_put(const char *key, u32 length, const char *value, u32 value_length,
                          result_nothing *out);

static const text names[1] = {{"increment", 9}};
static struct { const text *at; u32 count; } handlers_result = {names, 1};
static char digits[12];
static result_text outcome;

__attribute__((export_name("handlers"))) const void *handlers(void) { return &handlers_result; }

/* Reads digits up to the first other letter. */
static u32 read_number(text from) {
    u32 value = 0;
    for (u32 n = 0; n < from.length && from.at[n] >= '0' && from.at[n] <= '9'; n++)
        value = value * 10 + (u32)(from.at[n] - '0');
    return value;
}

__attribute__((export_name("run"))) const void *run(const char *name, u32 name_length,
                                                    const char *arguments, u32 arguments_length) {
    (void)name, (void)name_length;
    text by = {arguments + 1, arguments_length - 1};
    result_maybe_text got;
    host_get("count", 5, &got);
    u32 count = read_number(by.at[0] == ']' ? (text){"1", 1} : by);
    if (!got.is_error && (got.is_there & 0xFF)) count += read_number(got.some);
    u32 at = sizeof digits;
    do digits[--at] = (char)('0' + count % 10); while (count /= 10);
    result_nothing put;
    host_put("count", 5, digits + at, sizeof digits - at, &put);
    outcome.is_error = 0;
    outcome.ok = (text){digits + at, sizeof digits - at};
    return &outcome;
}
