/* file.c - the configuration file.
 *
 * libconfuse sees every option as a string.  A value is looked at as soon as it
 * has been read, because only then does libconfuse know its line: one at the top
 * level is taken at once, those of a database when its section ends.
 *
 * Thread: see conf.h.
 */
#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf_impl.h"
#include "conf/names.h"

/* Room for the rows of options.def, two before and two after them. */
#define FILE_OPTS_MAX (CONF_OPTIONS_N + 4)

/* What stands behind the end of the file. */
#define END_NAME "-end-"

/* A value of the section that is being read. */
struct pending {
	char *text; /* NULL: it was not given */
	int line;
};

/* What libconfuse's callbacks need to know.  They find it through the first
 * option of every section, since libconfuse passes on no pointer of ours. */
struct reading {
	struct conf *conf;
	const char *path;
	char *err; /* CONF_ERR_MAX; the first error stays */
	struct pending pending[CONF_OPTIONS_N]; /* with texts of its own */
};

static struct reading *
reading_get(cfg_t *cfg)
{
	return (void *)cfg->opts[0].simple_value.ptr;
}

/* libconfuse's words for a second section of one name, and ours. */
static const char dup_title[] = "found duplicate title '%s'";
static const char dup_text[] = "database %s is there already: give one of them "
			       "another name";

/* An error, libconfuse's own or one of those below, which come as "%s": keep
 * the first, with its place. */
static void __attribute__((format(printf, 2, 0)))
on_file_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	struct reading *r = reading_get(cfg);
	bool is_dup = strcmp(fmt, dup_title) == 0;
	int n;

	if (r->err[0] != '\0')
		return;
	n = snprintf(r->err, CONF_ERR_MAX, "%.200s:%d: ", r->path, cfg->line);
	n += vsnprintf(
	    r->err + n, CONF_ERR_MAX - (size_t)n, is_dup ? dup_text : fmt, ap);
	if (n < CONF_ERR_MAX && !is_dup && strcmp(fmt, "%s") != 0)
		snprintf(r->err + n, CONF_ERR_MAX - (size_t)n,
		    ": sqlpoold.conf(5) shows what a file looks like");
}

/* An option that is written twice is a mistake: which one was meant?  Of a list
 * libconfuse says what it has so far after each name, and at its end. */
static int
check_once(const struct option *o, const struct pending *had, const char *text,
    char *err)
{
	if (had->line == 0 ||
	    (o->type == NAMES && text && had->text &&
		strncmp(text, had->text, strlen(had->text)) == 0))
		return 0;
	snprintf(err, CONF_ERR_MAX,
	    "%s is set already, in line %d: remove one of them", o->name,
	    had->line);
	return -1;
}

/* The same at the top level, where it is taken at once. */
static int
check_top(const struct conf *conf, const struct option *o, const char *text,
    char *err)
{
	struct pending had = { NULL, conf->origins[option_id(o)].line };
	const void *base = o->scope == GLOBAL ? (const void *)conf
					      : (const void *)&conf->db_default;

	if (o->type == NAMES)
		had.text = option_get_names(o, base)->text;
	return check_once(o, &had, text, err);
}

/* Give the value, or the values of a list, as one text; the caller frees it. */
static char *
join_values(cfg_opt_t *opt)
{
	size_t size = 1, n = 0;
	char *text;

	for (unsigned i = 0; i < cfg_opt_size(opt); i++)
		size += strlen(cfg_opt_getnstr(opt, i)) + 2;
	text = calloc(1, size);
	for (unsigned i = 0; text != NULL && i < cfg_opt_size(opt); i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s",
		    i > 0 ? ", " : "", cfg_opt_getnstr(opt, i));
	return text;
}

/* A value was read at the top level: take it. */
static int
on_file_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reading *r = reading_get(cfg);
	char *text = join_values(opt);
	struct setting set = { .option = option_find(cfg_opt_name(opt)),
		.text = text,
		.origin = { .from = CONF_FROM_FILE, .line = cfg->line } };
	char err[CONF_ERR_MAX];
	int rc = text != NULL ? 0 : conf_fail_memory(err);

	if (rc == 0)
		rc = check_top(r->conf, set.option, text, err);
	if (rc == 0)
		rc = conf_set_top(r->conf, &set, err);
	free(text);
	if (rc < 0)
		cfg_error(cfg, "%s", err);
	return rc;
}

/* Keep a value of a section that fits until the section ends.  Takes its
 * text. */
static int
pending_store(struct reading *r, const struct option *o,
    const struct pending *value, char *err)
{
	struct pending *p = &r->pending[option_id(o)];
	struct option_value v = { 0 };

	if (value->text == NULL)
		return conf_fail_memory(err);
	if (conf_check_scope(o, err) < 0 ||
	    check_once(o, p, value->text, err) < 0 ||
	    option_parse(o, value->text, &v, err) < 0) {
		free(value->text);
		return -1;
	}
	option_value_fini(&v);
	free(p->text);
	*p = *value;
	return 0;
}

/* A value was read in a section. */
static int
on_file_section_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct pending value = { join_values(opt), cfg->line };
	char err[CONF_ERR_MAX];

	if (pending_store(reading_get(cfg), option_find(cfg_opt_name(opt)),
		&value, err) < 0) {
		cfg_error(cfg, "%s", err);
		return -1;
	}
	return 0;
}

/* The end of the file was read in a section. */
static int
on_file_end(cfg_t *cfg, cfg_opt_t *opt)
{
	(void)opt;
	cfg_error(cfg, "%s", "the section is not closed: write } at its end");
	return -1;
}

static void
pending_clear(struct reading *r)
{
	for (size_t i = 0; i < CONF_OPTIONS_N; i++) {
		free(r->pending[i].text);
		r->pending[i] = (struct pending){ 0 };
	}
}

/* Whether an empty list was written, of which libconfuse says nothing. */
static bool
is_emptied(cfg_t *cfg, const struct option *o)
{
	cfg_opt_t *opt = cfg_getopt(cfg, o->name);

	return o->type == NAMES && cfg_opt_size(opt) == 0 &&
	    (opt->flags & CFGF_MODIFIED) != 0;
}

static int
take_emptied(cfg_t *cfg, int (*take)(cfg_t *cfg, cfg_opt_t *opt))
{
	const struct option *o;

	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (is_emptied(cfg, o) &&
		    take(cfg, cfg_getopt(cfg, o->name)) < 0)
			return -1;
	}
	return 0;
}

/* Add the database of a section. */
static int
section_store(struct reading *r, const char *name, char *err)
{
	const char *path = r->pending[CONF_ID_path].text;
	const struct option *o;

	if (path == NULL) {
		snprintf(err, CONF_ERR_MAX,
		    "database %.80s has no path: write path = \"...\" in it",
		    name);
		return -1;
	}
	if (conf_append_db(r->conf, name, path, err) < 0)
		return -1;
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		const struct pending *p = &r->pending[option_id(o)];
		struct setting set = { o, p->text,
			{ CONF_FROM_FILE, p->line } };

		if (p->text != NULL &&
		    conf_set_db(&r->conf->dbs[r->conf->db_n - 1], &set, err) <
			0)
			return -1;
	}
	return 0;
}

/* A section was read to its end. */
static int
on_file_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	struct reading *r = reading_get(cfg);
	char err[CONF_ERR_MAX];
	int rc;

	if (take_emptied(sec, on_file_section_value) < 0)
		return -1;
	rc = section_store(r, cfg_title(sec), err);
	pending_clear(r);
	if (rc < 0)
		cfg_error(cfg, "%s", err);
	return rc;
}

/* Fill a table for libconfuse: all options at both levels, so that one in the
 * wrong place is known; subopts is the section's table. */
static void
file_opts(cfg_opt_t opts[FILE_OPTS_MAX], struct reading *r, cfg_opt_t *subopts)
{
	const struct option *o;
	size_t n = 0;

	opts[n++] = (cfg_opt_t){ .name = "{reading}",
		.type = CFGT_PTR,
		.flags = CFGF_NODEFAULT,
		.simple_value.ptr = (void *)r };
	opts[n++] = (cfg_opt_t)CFG_STR(END_NAME, NULL, CFGF_NODEFAULT);
	for (o = option_next(NULL); o != NULL; o = option_next(o))
		opts[n++] = o->type == NAMES
		    ? (cfg_opt_t)CFG_STR_LIST(o->name, NULL, CFGF_NODEFAULT)
		    : (cfg_opt_t)CFG_STR(o->name, NULL, CFGF_NODEFAULT);
	if (subopts != NULL)
		opts[n++] = (cfg_opt_t)CFG_SEC("database", subopts,
		    CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
	opts[n] = (cfg_opt_t)CFG_END();
}

/* Make libconfuse's parser; r is lent to it. */
static cfg_t *
file_parser_new(struct reading *r)
{
	cfg_opt_t top[FILE_OPTS_MAX];
	cfg_opt_t section[FILE_OPTS_MAX];
	const struct option *o;
	cfg_t *cfg;
	char name[64];

	file_opts(section, r, NULL);
	file_opts(top, r, section);
	cfg = cfg_init(top, CFGF_NONE);
	if (cfg == NULL)
		return NULL;
	cfg_set_error_function(cfg, on_file_error);
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		cfg_set_validate_func(cfg, o->name, on_file_value);
		snprintf(name, sizeof(name), "database|%s", o->name);
		cfg_set_validate_func(cfg, name, on_file_section_value);
	}
	cfg_set_validate_func(cfg, "database|" END_NAME, on_file_end);
	cfg_set_validate_func(cfg, "database", on_file_section);
	return cfg;
}

/* Where a string that begins here is over. */
static char *
skip_string(char *p)
{
	char quote = *p++;

	while (*p != '\0' && *p != quote)
		p += *p == '\\' && p[1] != '\0' ? 2 : 1;
	return *p != '\0' ? p + 1 : p;
}

/* How long the comment is that begins here; 0: none does.  One that is not closed
 * goes to the end of the text. */
static size_t
measure_comment(const char *p, bool in_word)
{
	const char *end;

	if (*p == '#' || (!in_word && strncmp(p, "//", 2) == 0))
		return strcspn(p, "\n");
	if (in_word || strncmp(p, "/*", 2) != 0)
		return 0;
	end = strstr(p + 2, "*/");
	return end != NULL ? (size_t)(end + 2 - p) : strlen(p);
}

/* Overwrite comments with blanks: libconfuse 3.3 counts their lines two or three
 * times.  Gives where one begins that is not closed, or NULL. */
static const char *
blank_comments(char *text)
{
	bool in_word = false;

	for (char *p = text, *from = text; *p != '\0';) {
		size_t n = measure_comment(p, in_word);

		if (n == 0 && (*p == '"' || *p == '\'')) {
			p = skip_string(p);
			in_word = false;
			continue;
		}
		if (n == 0) {
			in_word = strchr(" \t\n\r={}()+,*", *p) == NULL;
			p++;
			continue;
		}
		if (*p == '/' && p[n] == '\0')
			return p;
		for (from = p, p += n; from < p; from++)
			if (*from != '\n')
				*from = ' ';
		in_word = false;
	}
	return NULL;
}

static int
check_text(char *text, size_t size, const char *path, char *err)
{
	const char *open;
	int line = 1;

	if (strlen(text) < size) {
		snprintf(err, CONF_ERR_MAX,
		    "cannot read %.200s: it has a NUL byte: give a text file",
		    path);
		return -1;
	}
	open = blank_comments(text);
	if (open == NULL)
		return 0;
	for (const char *p = text; p < open; p++)
		line += *p == '\n';
	snprintf(err, CONF_ERR_MAX,
	    "%.200s:%d: the comment is not closed: write */ at its end", path,
	    line);
	return -1;
}

/* Read the file to its end, with a line behind it that only the top level may
 * hold: libconfuse takes the end of the file for that of a section. */
static char *
file_read(const char *path, char *err)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	char buf[4096];
	size_t n;
	bool bad = true, ends_line = true;

	if (file == NULL || out == NULL)
		goto out;
	while ((n = fread(buf, 1, sizeof(buf), file)) > 0) {
		(void)!fwrite(buf, 1, n, out);
		ends_line = buf[n - 1] == '\n';
	}
	bad = ferror(file) != 0;
	/* a line of its own, behind a comment too, and not counted */
	fputs(ends_line ? END_NAME " = 1" : "\n" END_NAME " = 1", out);
out:
	if (bad)
		snprintf(err, CONF_ERR_MAX, "cannot read %.200s: %s", path,
		    strerror(errno));
	if (out != NULL && fclose(out) != 0)
		bad = conf_fail_memory(err) < 0;
	if (file != NULL)
		fclose(file);
	if (!bad && check_text(text, size, path, err) == 0)
		return text;
	free(text);
	return NULL;
}

int
conf_read_file(struct conf *conf, const char *path, char err[CONF_ERR_MAX])
{
	struct reading r = { .conf = conf, .path = path, .err = err };
	char *text = file_read(path, err);
	cfg_t *cfg;
	int rc = -1;

	if (text == NULL)
		return -1;
	err[0] = '\0';
	free(conf->file);
	conf->file = strdup(path);
	cfg = conf->file != NULL ? file_parser_new(&r) : NULL;
	if (cfg == NULL) {
		conf_fail_memory(err);
		goto out;
	}
	rc = cfg_parse_buf(cfg, text) == CFG_SUCCESS ? 0 : -1;
	if (rc == 0)
		rc = take_emptied(cfg, on_file_value);
	if (rc < 0 && err[0] == '\0')
		snprintf(err, CONF_ERR_MAX,
		    "%.200s:%d: syntax error: sqlpoold.conf(5) shows what a "
		    "file looks like",
		    path, cfg->line);
	cfg_free(cfg);
out:
	pending_clear(&r);
	free(text);
	return rc;
}
