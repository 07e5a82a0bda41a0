/* pragma.c - the table of PRAGMAs, and how their values compare. */
#include "daemon/pragma.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEPT_BY_SQLITE "leave it out"
#define BY_FILE \
	"it is the file's: set it with sqlite3(1) before the file is served"

/* clang-format off */
static const struct pragma pragmas[] = {
	{ .name = "table_info" },
	{ .name = "table_xinfo" },
	{ .name = "table_list" },
	{ .name = "index_list" },
	{ .name = "index_info" },
	{ .name = "index_xinfo" },
	{ .name = "foreign_key_list" },
	{ .name = "foreign_key_check" },
	{ .name = "collation_list" },
	{ .name = "function_list" },
	{ .name = "module_list" },
	{ .name = "pragma_list" },
	{ .name = "compile_options" },
	{ .name = "database_list" },
	{ .name = "integrity_check" },
	{ .name = "quick_check" },
	{ .name = "page_count" },
	{ .name = "freelist_count" },
	{ .name = "data_version" },

	{ .name = "user_version", .rule = PRAGMA_STORES },
	{ .name = "application_id", .rule = PRAGMA_STORES },
	{ .name = "incremental_vacuum", .rule = PRAGMA_WRITES },
	{ .name = "optimize", .rule = PRAGMA_WRITES },

	{ "page_size", PRAGMA_SETS, VALUES_INTEGER, NULL, NULL, BY_FILE },
	{ "encoding", PRAGMA_SETS, VALUES_WORD, NULL, NULL, BY_FILE },
	{ "auto_vacuum", PRAGMA_SETS, VALUES_AUTO_VACUUM, NULL, NULL, BY_FILE },
	{ "journal_mode", PRAGMA_SETS, VALUES_WORD, NULL, "journal_mode",
	  "leave it out: a file that is served is in WAL mode" },
	{ "locking_mode", PRAGMA_SETS, VALUES_WORD, NULL, "locking_mode",
	  "set access in the daemon's configuration" },
	{ "synchronous", PRAGMA_SETS, VALUES_SYNCHRONOUS, NULL, NULL,
	  "set synchronous in the daemon's configuration" },
	{ "foreign_keys", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "set foreign_keys in the daemon's configuration" },
	{ "cache_size", PRAGMA_SETS, VALUES_CACHE_SIZE, NULL, NULL,
	  "set cache_bytes in the daemon's configuration" },
	{ "temp_store", PRAGMA_SETS, VALUES_TEMP_STORE, NULL, NULL,
	  "set temp_store in the daemon's configuration" },
	{ "mmap_size", PRAGMA_SETS, VALUES_INTEGER, NULL, "mmap_size",
	  "leave it out, or set cache_bytes in the daemon's configuration: beside writes mmap is slower" },
	{ "busy_timeout", PRAGMA_SETS, VALUES_ANY, NULL, "timeout",
	  "set the deadline of requests" },
	{ "wal_autocheckpoint", PRAGMA_SETS, VALUES_INTEGER, NULL, "wal_autocheckpoint",
	  "set wal_limit in the daemon's configuration: the daemon copies the WAL itself" },
	{ "journal_size_limit", PRAGMA_SETS, VALUES_INTEGER, NULL, "journal_size_limit",
	  "set wal_limit in the daemon's configuration: the daemon bounds the WAL itself" },
	{ "soft_heap_limit", PRAGMA_SETS, VALUES_INTEGER, NULL, "soft_heap_limit",
	  "set request_memory in the daemon's configuration" },
	{ "hard_heap_limit", PRAGMA_SETS, VALUES_INTEGER, NULL, "hard_heap_limit",
	  "set request_memory in the daemon's configuration" },
	{ "max_page_count", PRAGMA_SETS, VALUES_INTEGER, NULL, "max_page_count",
	  "use a quota of the file system" },
	{ "query_only", PRAGMA_SETS, VALUES_BOOLEAN, "0", NULL,
	  "begin a read-only transaction" },
	{ "defer_foreign_keys", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "declare the constraint as DEFERRABLE INITIALLY DEFERRED" },
	{ "case_sensitive_like", PRAGMA_SETS, VALUES_BOOLEAN, "0", NULL, "use GLOB" },
	{ "recursive_triggers", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "use WITH RECURSIVE" },
	{ "writable_schema", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "use CREATE, ALTER and DROP" },
	{ "ignore_check_constraints", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "use a table without the CHECK" },
	{ "legacy_alter_table", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "schema_version", PRAGMA_SETS, VALUES_INTEGER, NULL, NULL,
	  "leave it out: SQLite counts it" },
	{ "secure_delete", PRAGMA_SETS, VALUES_BOOLEAN, NULL, "secure_delete", KEPT_BY_SQLITE },
	{ "trusted_schema", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "automatic_index", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "cell_size_check", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "checkpoint_fullfsync", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "fullfsync", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "read_uncommitted", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "reverse_unordered_selects", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "use ORDER BY" },
	{ "short_column_names", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, "name columns with AS" },
	{ "full_column_names", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, "name columns with AS" },
	{ "count_changes", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL,
	  "use RETURNING: each answer says how many rows it changed" },
	{ "empty_result_callbacks", PRAGMA_SETS, VALUES_BOOLEAN, NULL, NULL, KEPT_BY_SQLITE },
	{ "threads", PRAGMA_SETS, VALUES_INTEGER, NULL, "threads", KEPT_BY_SQLITE },
	{ "analysis_limit", PRAGMA_SETS, VALUES_INTEGER, NULL, "analysis_limit",
	  "use PRAGMA optimize" },

	{ .name = "wal_checkpoint", .rule = PRAGMA_REFUSED,
	  .remedy = "leave it out: the daemon copies the WAL itself (wal_limit)" },
	{ .name = "shrink_memory", .rule = PRAGMA_REFUSED,
	  .remedy = "set cache_bytes in the daemon's configuration" },
	{ .name = "cache_spill", .rule = PRAGMA_REFUSED,
	  .remedy = "set cache_bytes in the daemon's configuration" },
	{ .name = "temp_store_directory", .rule = PRAGMA_REFUSED,
	  .remedy = "set SQLITE_TMPDIR in the daemon's environment" },
};
/* clang-format on */

const struct pragma *
pragma_find(const char *name)
{
	for (size_t i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]); i++)
		if (strcasecmp(name, pragmas[i].name) == 0)
			return &pragmas[i];
	return NULL;
}

/* The number that a word stands for, or that is written; else -1. */
static int64_t
read_word(const char *const *words, const char *text)
{
	char *end;
	long long n;

	for (int i = 0; words[i]; i++)
		if (strcasecmp(words[i], text) == 0)
			return i;
	n = strtoll(text, &end, 10);
	return end != text && *end == '\0' && n >= 0 ? n : -1;
}

/* As sqlite3GetBoolean does. */
static int64_t
read_boolean(const char *text)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false",
		"true", NULL };
	int64_t n = read_word(words, text);

	if (n < 0 || (text[0] >= '0' && text[0] <= '9'))
		return n > 0 ? 1 : n;
	return n % 2;
}

static int64_t
read_synchronous(const char *text)
{
	static const char *const words[] = { "off", "normal", "full", "extra",
		NULL };
	int64_t n = read_word(words, text);

	if (n < 0)
		n = read_boolean(text);
	return n == 3 ? 2 : n; /* in WAL mode they are the same */
}

static int64_t
read_auto_vacuum(const char *text)
{
	static const char *const words[] = { "none", "full", "incremental",
		NULL };

	return read_word(words, text);
}

static int64_t
read_temp_store(const char *text)
{
	static const char *const words[] = { "default", "file", "memory",
		NULL };

	return read_word(words, text);
}

static bool
is_same_integer(const char *a, const char *b)
{
	char *end;
	long long n = strtoll(a, &end, 10);

	return end != a && *end == '\0' && n == strtoll(b, NULL, 10);
}

/* Below zero: KiB; else pages. */
static bool
is_same_size(const char *a, const char *b, int page_bytes)
{
	char *end;
	long long n = strtoll(a, &end, 10), now = strtoll(b, NULL, 10);

	if (end == a || *end != '\0' || n > INT32_MAX || n < INT32_MIN)
		return false;
	return (n < 0 ? n * -1024 : n * page_bytes) ==
	    (now < 0 ? now * -1024 : now * page_bytes);
}

/* "utf8" is "UTF-8". */
static bool
is_same_word(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += *a == '-';
		b += *b == '-';
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		if (*a == '\0')
			return true;
	}
}

bool
pragma_is_same(
    const struct pragma *p, const char *value, const char *now, int page_bytes)
{
	switch (p->values) {
	case VALUES_BOOLEAN:
		return read_boolean(value) == read_boolean(now);
	case VALUES_INTEGER:
		return is_same_integer(value, now);
	case VALUES_WORD:
		return is_same_word(value, now);
	case VALUES_SYNCHRONOUS:
		return read_synchronous(value) == read_synchronous(now);
	case VALUES_TEMP_STORE:
		return read_temp_store(value) == read_temp_store(now);
	case VALUES_AUTO_VACUUM:
		return read_auto_vacuum(value) == read_auto_vacuum(now);
	case VALUES_CACHE_SIZE:
		return is_same_size(value, now, page_bytes);
	case VALUES_ANY:
		return is_same_integer(value, value);
	case VALUES_NONE:
		break;
	}
	return false;
}
