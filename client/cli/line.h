/* line.h - lines from a file, or from a person. */
#ifndef CLIENT_CLI_LINE_H
#define CLIENT_CLI_LINE_H

#include <stdbool.h>
#include <stdio.h>

struct line_source {
	FILE *f;    /* NULL: a prompt */
	char *line; /* owned */
	size_t cap;
	unsigned long number; /* of the line read last, from 1 */
	bool interrupted;     /* the person gave up the lines typed so far */
};

/* Start reading from f, or with NULL from a prompt with history. */
void line_open(struct line_source *source, FILE *f);
void line_close(struct line_source *source);

/* Read a line, without its line break; it may be changed and lives until the
 * next one.  continuing: a statement is not complete yet.  NULL at the end. */
char *line_read(struct line_source *source, bool continuing);

#endif
