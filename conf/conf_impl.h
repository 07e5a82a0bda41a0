/* conf_impl.h - what conf.c and file.c share: one value on its way into the
 * configuration.
 *
 * Inside conf/ only.  Errors are -1 with a line in err, as in conf.h.
 */
#ifndef CONF_CONF_IMPL_H
#define CONF_CONF_IMPL_H

#include "conf/conf.h"
#include "conf/option.h"

/* A value with its place. */
struct setting {
	const struct option *option;
	const char *text;
	struct conf_origin origin;
};

/* Set an option outside of any database: of the daemon, or the default of all
 * databases. */
int conf_set_top(struct conf *conf, const struct setting *set, char *err);

/* Set an option of one database. */
int conf_set_db(struct conf_db *db, const struct setting *set, char *err);

/* Refuse an option that no database has. */
int conf_check_scope(const struct option *o, char *err);

/* Find an option, or say that there is none.  NULL: there is none. */
const struct option *conf_find_option(const char *name, char *err);

/* Find a database whose name is n bytes long.  NULL: there is none. */
struct conf_db *
conf_find_db(const struct conf *conf, const char *name, size_t n);

/* See whether a database's options go together (check.c). */
int conf_check_db(const struct conf *conf, const struct conf_db *db, char *err);

/* Append a database that has the defaults. */
int conf_append_db(
    struct conf *conf, const char *name, const char *path, char *err);

/* Say that memory ran out. */
int conf_fail_memory(char *err);

#endif
