/* error.c - the error table as functions.  Constant data: any thread. */
#include "proto/error.h"

struct error_row {
	int code;
	enum error_class class;
	enum error_outcome outcome;
	const char *name;
	const char *text;
};

static const struct error_row own_rows[] = {
#define ERR(name, number, class, outcome, text) \
	{ (number), CLASS_##class, OUTCOME_##outcome, #name, (text) },
#include "proto/errors.def"
#undef ERR
};

static const struct {
	int code;
	const char *name;
} sqlite_rows[] = {
#define SQL(name, number) { (number), #name },
#include "proto/errors.def"
#undef SQL
};

static const struct error_row *
find_own(int code)
{
	for (size_t i = 0; i < sizeof(own_rows) / sizeof(own_rows[0]); i++)
		if (own_rows[i].code == code)
			return &own_rows[i];
	return NULL;
}

static const char *
find_sqlite(int code)
{
	for (size_t i = 0; i < sizeof(sqlite_rows) / sizeof(sqlite_rows[0]);
	     i++)
		if (sqlite_rows[i].code == code)
			return sqlite_rows[i].name;
	return NULL;
}

const char *
error_get_name(int code)
{
	const struct error_row *row = find_own(code);
	const char *name = row ? row->name : find_sqlite(code);

	if (!name && code > 0 && code < ERR_FRAME_MAGIC)
		name = find_sqlite(code & 0xff);
	return name ? name : "UNKNOWN";
}

#define OWN_N    (sizeof(own_rows) / sizeof(own_rows[0]))
#define SQLITE_N (sizeof(sqlite_rows) / sizeof(sqlite_rows[0]))

size_t
error_get_index(int code)
{
	for (size_t i = 0; i < OWN_N; i++)
		if (own_rows[i].code == code)
			return i;
	for (size_t i = 0; i < SQLITE_N; i++)
		if (sqlite_rows[i].code == code)
			return OWN_N + i;
	if (code > 0xff && code < ERR_FRAME_MAGIC)
		return error_get_index(code & 0xff);
	return ERROR_INDEX_UNKNOWN;
}

int
error_get_code(size_t index)
{
	if (index < OWN_N)
		return own_rows[index].code;
	return index < OWN_N + SQLITE_N ? sqlite_rows[index - OWN_N].code : 0;
}

const char *
error_get_text(int code)
{
	const struct error_row *row = find_own(code);

	return row ? row->text : NULL;
}

enum error_class
error_get_class(int code)
{
	const struct error_row *row = find_own(code);

	if (row)
		return row->class;
	/* sqlite.org/rescode.html section 3: primary codes by number */
	switch (code & 0xff) {
	case 19: /* CONSTRAINT */
	case 20: /* MISMATCH */
		return CLASS_CONSTRAINT;
	case 5: /* BUSY */
	case 6: /* LOCKED */
		return CLASS_BUSY;
	case 7:  /* NOMEM */
	case 18: /* TOOBIG */
		return CLASS_LIMIT;
	case 3:  /* PERM */
	case 23: /* AUTH */
		return CLASS_ACCESS;
	case 9: /* INTERRUPT */
		return CLASS_CANCEL;
	case 2:  /* INTERNAL */
	case 8:  /* READONLY */
	case 10: /* IOERR */
	case 11: /* CORRUPT */
	case 13: /* FULL */
	case 14: /* CANTOPEN */
	case 15: /* PROTOCOL */
	case 26: /* NOTADB */
		return CLASS_SERVER;
	default:
		return CLASS_SQL;
	}
}

enum error_outcome
error_get_outcome(int code)
{
	const struct error_row *row = find_own(code);

	return row ? row->outcome : OUTCOME_NOT_APPLIED;
}

const char *
error_get_class_name(uint64_t class)
{
	static const char *const names[] = {
		[CLASS_SQL] = "sql",
		[CLASS_CONSTRAINT] = "constraint",
		[CLASS_BUSY] = "busy",
		[CLASS_LIMIT] = "limit",
		[CLASS_ACCESS] = "access",
		[CLASS_PROTOCOL] = "protocol",
		[CLASS_CANCEL] = "cancel",
		[CLASS_SERVER] = "server",
		[CLASS_CLIENT] = "client",
	};

	if (class >= sizeof(names) / sizeof(names[0]) || !names[class])
		return "unknown";
	return names[class];
}

const char *
error_get_outcome_name(uint64_t outcome)
{
	static const char *const names[] = { "not_applied", "applied",
		"unknown" };

	return outcome < 3 ? names[outcome] : "unknown";
}
