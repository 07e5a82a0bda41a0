/* split.c - a scanner that knows what a semicolon can hide in. */
#include "client/cli/split.h"

#include <sqlite3.h>
#include <string.h>
#include <strings.h>

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Inside of something: step over its end if p is there, else over one byte. */
static const char *
leave(struct split_state *state, const char *p)
{
	if (*p != state->until)
		return p + 1;
	if (state->until == '*') {
		if (p[1] == '/') {
			state->until = 0;
			return p + 2;
		}
		return p + 1;
	}
	if (p[1] == state->until && state->until != ']')
		return p + 2; /* a doubled quote */
	state->until = 0;
	return p + 1;
}

/* Step over one thing: a byte, or what begins a comment or a quote. */
static const char *
step(struct split_state *state, const char *p)
{
	if (state->until)
		return leave(state, p);
	if (is_space(*p))
		return p + 1;
	if (p[0] == '-' && p[1] == '-')
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*') {
		state->until = '*';
		return p + 2;
	}
	state->ends = *p == ';';
	if (!state->ends)
		state->text = true;
	if (strchr("'\"`", *p))
		state->until = *p;
	else if (*p == '[')
		state->until = ']';
	return p + 1;
}

void
split_scan(struct split_state *state, const char *line)
{
	while (*line)
		line = step(state, line);
}

size_t
split_first(char *sql, bool *ret_empty)
{
	struct split_state state = { 0 };
	const char *p = sql;

	while (*p) {
		bool candidate = !state.until && *p == ';';
		char *end;
		char was;
		bool complete;

		p = step(&state, p);
		if (!candidate)
			continue;
		end = sql + (p - sql);
		was = *end;
		*end = '\0';
		complete = sqlite3_complete(sql) != 0;
		*end = was;
		if (complete)
			break;
	}
	*ret_empty = !state.text && !state.until;
	return (size_t)(p - sql);
}

bool
split_is_explain(const char *sql)
{
	struct split_state state = { 0 };

	while (*sql && !state.text) {
		if (!state.until && strncasecmp(sql, "explain", 7) == 0)
			return true;
		sql = step(&state, sql);
	}
	return false;
}
