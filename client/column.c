/* column.c - names and values of the row a result stands on. */
#include "impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* Copy a raw array's strings: pointers to to[0..n), bytes from *at on. */
static void
copy_strings(struct span array, size_t n, char **to, char **at)
{
	struct value v;

	value_read(&array, &v);
	for (size_t i = 0; i < n; i++) {
		value_read(&array, &v);
		if (v.kind != VALUE_TEXT)
			continue;
		if (v.s.n > 0)
			memcpy(*at, v.s.p, v.s.n);
		(*at)[v.s.n] = '\0';
		to[i] = *at;
		*at += v.s.n + 1;
	}
}

int
result_make_names(struct sqlpool_result *result)
{
	size_t n = result->columns_n;
	/* each string's head in the array leaves room for its NUL */
	size_t bytes = result->columns.n + result->decltypes.n;
	char **names = mem_make(2 * n * sizeof(*names) + bytes);
	char *at;

	if (!names)
		return -ERR_NO_MEMORY;
	at = (char *)(names + 2 * n);
	copy_strings(result->columns, n, names, &at);
	if (result->decltypes.n > 0)
		copy_strings(result->decltypes, n, names + n, &at);
	result->names = names;
	return 0;
}

static bool
have_names(struct sqlpool_result *result)
{
	if (!result || result->columns_n == 0)
		return false;
	return result->names || result_make_names(result) == 0;
}

size_t
sqlpool_column_count(const struct sqlpool_result *result)
{
	return result ? result->columns_n : 0;
}

const char *
sqlpool_column_name(struct sqlpool_result *result, size_t column)
{
	if (!have_names(result) || column >= result->columns_n)
		return NULL;
	return result->names[column];
}

const char *
sqlpool_column_decltype(struct sqlpool_result *result, size_t column)
{
	if (!have_names(result) || column >= result->columns_n)
		return NULL;
	return result->names[result->columns_n + column];
}

int
sqlpool_column_index(struct sqlpool_result *result, const char *name)
{
	if (!name || !have_names(result))
		return -1;
	for (size_t i = 0; i < result->columns_n && i < INT32_MAX; i++)
		if (result->names[i] && strcmp(result->names[i], name) == 0)
			return (int)i;
	return -1;
}

/* ---- values ---- */

/* NULL when there is none. */
static const struct value *
get_value(const struct sqlpool_result *result, size_t column)
{
	if (!result || !result->has_row || column >= result->columns_n)
		return NULL;
	return &result->row[column];
}

static enum sqlpool_type
get_type(const struct value *v)
{
	if (!v)
		return SQLPOOL_TYPE_NULL;
	switch (v->kind) {
	case VALUE_BOOL:
	case VALUE_INT:
		return SQLPOOL_TYPE_INTEGER;
	case VALUE_REAL:
		return SQLPOOL_TYPE_REAL;
	case VALUE_TEXT:
		return SQLPOOL_TYPE_TEXT;
	case VALUE_BLOB:
		return SQLPOOL_TYPE_BLOB;
	case VALUE_NULL:
	case VALUE_BIG_UINT:
	case VALUE_ARRAY:
	case VALUE_MAP:
	case VALUE_EXT:
		break;
	}
	return SQLPOOL_TYPE_NULL;
}

enum sqlpool_type
sqlpool_column_type(const struct sqlpool_result *result, size_t column)
{
	return get_type(get_value(result, column));
}

int64_t
sqlpool_column_int64(const struct sqlpool_result *result, size_t column)
{
	const struct value *v = get_value(result, column);

	switch (get_type(v)) {
	case SQLPOOL_TYPE_INTEGER:
		return v->i;
	case SQLPOOL_TYPE_REAL:
		return convert_double_to_int64(v->f);
	case SQLPOOL_TYPE_TEXT:
	case SQLPOOL_TYPE_BLOB:
		return convert_text_to_int64(v->s.p, v->s.n);
	case SQLPOOL_TYPE_NULL:
		break;
	}
	return 0;
}

double
sqlpool_column_double(const struct sqlpool_result *result, size_t column)
{
	const struct value *v = get_value(result, column);

	switch (get_type(v)) {
	case SQLPOOL_TYPE_INTEGER:
		return (double)v->i;
	case SQLPOOL_TYPE_REAL:
		return v->f;
	case SQLPOOL_TYPE_TEXT:
	case SQLPOOL_TYPE_BLOB:
		return convert_text_to_double(v->s.p, v->s.n);
	case SQLPOOL_TYPE_NULL:
		break;
	}
	return 0;
}

/* A number's text lives beside the row, in a place of its column's own. */
static const char *
get_number_text(struct sqlpool_result *result, size_t column, size_t *ret_n)
{
	const struct value *v = &result->row[column];

	if (!result->numbers)
		result->numbers = mem_make(
		    result->columns_n * sizeof(*result->numbers));
	if (!result->numbers)
		return NULL;
	if (v->kind == VALUE_REAL)
		*ret_n = convert_double_to_text(v->f, result->numbers[column]);
	else
		*ret_n = convert_int64_to_text(v->i, result->numbers[column]);
	return result->numbers[column];
}

/* End the bytes with a NUL, over what follows them (see result.c).  The chunk
 * is ours and has one byte more than its content. */
static const char *
end_with_nul(struct sqlpool_result *result, const struct value *v)
{
	const uint8_t *end = v->s.p + v->s.n;
	uint8_t *to = result->bytes + (end - result->bytes);

	if (end == result->rows.p && !result->nul_at) {
		result->nul_at = to;
		result->nul_was = *to;
	}
	*to = '\0';
	return (const char *)v->s.p;
}

static const char *
get_bytes(struct sqlpool_result *result, size_t column, size_t *ret_n, bool nul)
{
	const struct value *v = get_value(result, column);
	const char *p = NULL;
	size_t n = 0;

	switch (get_type(v)) {
	case SQLPOOL_TYPE_INTEGER:
	case SQLPOOL_TYPE_REAL:
		p = get_number_text(result, column, &n);
		break;
	case SQLPOOL_TYPE_TEXT:
	case SQLPOOL_TYPE_BLOB:
		n = v->s.n;
		p = nul ? end_with_nul(result, v) : (const char *)v->s.p;
		break;
	case SQLPOOL_TYPE_NULL:
		break;
	}
	if (ret_n)
		*ret_n = n;
	return p;
}

const char *
sqlpool_column_text(struct sqlpool_result *result, size_t column, size_t *ret_n)
{
	return get_bytes(result, column, ret_n, true);
}

const void *
sqlpool_column_blob(struct sqlpool_result *result, size_t column, size_t *ret_n)
{
	return get_bytes(result, column, ret_n, false);
}
