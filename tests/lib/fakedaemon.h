/* fakedaemon.h - a daemon of paper that listens: it plays one script after the
 * other, each on the next connection (fakeserver.h).
 *
 * Its thread owns the scripts until fakedaemon_stop has joined it.
 */
#ifndef TESTS_LIB_FAKEDAEMON_H
#define TESTS_LIB_FAKEDAEMON_H

#include "tests/lib/fakeserver.h"

typedef void fake_play(struct fakeserver *fs);

struct fakedaemon {
	char dir[64];  /* holds the socket */
	char path[80]; /* dir/s */
	int listener;
	fake_play *const *plays; /* NULL at the end */
	pthread_t thread;
};

/* Make a directory and listen in it; play these scripts, NULL at the end, and
 * then accept nobody. */
void fakedaemon_start(struct fakedaemon *d, fake_play *const *plays);

/* Wait for the end of the scripts; nobody listens then, and the socket file is
 * gone. */
void fakedaemon_rest(struct fakedaemon *d);

/* After a rest: listen again. */
void fakedaemon_rise(struct fakedaemon *d, fake_play *const *plays);

/* Wait for the end of the scripts and remove the directory. */
void fakedaemon_stop(struct fakedaemon *d);

#endif
