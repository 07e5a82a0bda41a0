/* hello.c - an SQLite extension, loaded by check_extension: hello(x). */
#include <sqlite3ext.h>
#include <stddef.h>
SQLITE_EXTENSION_INIT1

static void
sql_hello(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	char *text = sqlite3_mprintf("hello %s", sqlite3_value_text(v[0]));

	(void)n;
	sqlite3_result_text(ctx, text, -1, sqlite3_free);
}

__attribute__((visibility("default"))) int sqlite3_hello_init(
    sqlite3 *db, char **ret_message, const sqlite3_api_routines *api);

/* sqlite.org/loadext.html: the name is made of the file's. */
int
sqlite3_hello_init(
    sqlite3 *db, char **ret_message, const sqlite3_api_routines *api)
{
	(void)ret_message;
	SQLITE_EXTENSION_INIT2(api);
	return sqlite3_create_function(
	    db, "hello", 1, SQLITE_UTF8, NULL, sql_hello, NULL, NULL);
}
