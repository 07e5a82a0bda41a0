/* locks.c - search /proc/locks. */
#include "daemon/locks.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* How often the list is searched: the kernel gives it in pieces, and a line can be
 * missed when others' locks come and go in between. */
#define LOCK_LOOKS 5

struct search {
	struct stat st;
	long first, last;
};

static bool
is_file(const struct stat *st, const char *text)
{
	unsigned long major_n, minor_n;
	char *end;

	major_n = strtoul(text, &end, 16);
	minor_n = strtoul(*end ? end + 1 : end, &end, 16);
	return major_n == major(st->st_dev) && minor_n == minor(st->st_dev) &&
	    *end && strtoul(end + 1, NULL, 10) == st->st_ino;
}

/* A line of /proc/locks (proc(5)): "1: POSIX ADVISORY WRITE pid major:minor:inode
 * start end".  The pid, when it is another process's lock there; else 0. */
static pid_t
read_line(char *line, const struct search *s)
{
	const char *words[8] = { 0 };
	char *save = NULL, *word = strtok_r(line, " \n", &save);
	long end;
	pid_t pid;

	for (int i = 0; i < 8 && word; i++) {
		words[i] = word;
		word = strtok_r(NULL, " \n", &save);
	}
	/* "1: ->" is one who waits for a lock */
	if (!words[7] || strcmp(words[1], "POSIX") != 0 ||
	    !is_file(&s->st, words[5]))
		return 0;
	end = strcmp(words[7], "EOF") == 0 ? LONG_MAX
					   : strtol(words[7], NULL, 10);
	if (strtol(words[6], NULL, 10) > s->last || end < s->first)
		return 0;
	pid = (pid_t)strtol(words[4], NULL, 10);
	if (pid == getpid())
		return 0;
	return pid > 0 ? pid : -1;
}

/* One look through the list. */
static pid_t
look(const struct search *s)
{
	FILE *list = fopen("/proc/locks", "re");
	char line[256];
	pid_t pid = 0;

	while (list && pid == 0 && fgets(line, sizeof(line), list))
		pid = read_line(line, s);
	if (list)
		fclose(list);
	return pid;
}

pid_t
locks_find(const char *path, long first, long last)
{
	struct search s = { .first = first, .last = last };
	pid_t pid = 0;

	if (stat(path, &s.st) < 0)
		return 0;
	for (int i = 0; i < LOCK_LOOKS && pid == 0; i++)
		pid = look(&s);
	return pid;
}
