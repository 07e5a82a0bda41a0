/* again.h - who asked for the configuration to be read again, and what came of it.
 *
 * The main thread reads it; who asks waits in a line and rings its bell.  A SIGHUP
 * has it read as well, and answers all that wait.
 */
#ifndef DAEMON_AGAIN_H
#define DAEMON_AGAIN_H

#include <stdbool.h>

#include "daemon/mailbox.h"
#include "proto/buf.h"

/* One that asked: embedded in what its errand is of. */
struct again {
	struct again *next;
	struct errand *errand; /* sent to home when it was done */
	struct mailbox *home;
	int code; /* 0: it is read; else an ERR_ code: nothing has changed */
	struct buf
	    said; /* lines with their ends: what needs a restart, or why not;
			  * buf_init before, buf_fini afterwards */
};

/* Give the descriptor that is readable when somebody may have asked; -1: none is
 * left.  Main thread, like the next two. */
int again_open(void);
void again_close(void);

/* Silence the descriptor; true: there is somebody whom no reading has answered. */
bool again_hear(void);

/* Ask.  Any thread. */
void again_ask(struct again *a);

/* Begin to read it for all that have asked; say a line to them; send them home.
 * The main thread. */
void again_begin(void);
void again_say(const char *line);
void again_end(int code);

#endif
