/* faults.h - what goes wrong, on demand, in a fixture's writer: its writes and
 * syncs fail, SQLite's memory runs out, a statement stops in the middle and
 * waits for the test.
 *
 * A fault is a countdown: 0 fails the next call, n the one after n more, and
 * below 0 none.  It fails `again` calls more, then no more.
 *
 * The functions are the test's thread's, while no thread runs the writer.
 */
#ifndef TESTS_LIB_FAULTS_H
#define TESTS_LIB_FAULTS_H

#include <limits.h>

#include "tests/lib/fixture.h"

struct sqlite3;

enum fault_call {
	FAULT_WAL_WRITE,
	FAULT_WAL_SYNC,
	FAULT_DB_WRITE,
	FAULT_DB_SYNC,
	FAULT_FILE, /* any call of the writer's two files but those that let go */
	FAULT_MALLOC,
	FAULT_STEP, /* of a statement that may be stopped: it is cancelled there */
	FAULT_CALLS_N,
};

/* Give the writer's SQLite connection. */
struct sqlite3 *faults_get_writer(struct fixture *fx);

/* Get between the writer and its files, and the keeper and the database file when
 * it has opened it.  All countdowns are off. */
void faults_watch_files(struct fixture *fx);

/* Look at each opcode of the writer's statements. */
void faults_watch_steps(struct fixture *fx);

/* Get between SQLite and malloc; before fixture_init. */
void faults_watch_malloc(void);

/* Let a call fail with an SQLite code (of malloc: any), and then `again` more.
 * Any time. */
void faults_arm(enum fault_call call, int countdown, int again, int code);

/* Disarm all; says whether one has failed since it was armed. */
bool faults_disarm(void);

/* Call this back, on the writer's thread, before each call of this kind; NULL:
 * do not. */
void faults_tap(enum fault_call call, void (*tap)(void *arg), void *arg);

/* An SQL function, barrier(x), that says that it was called and then waits.
 * It gives back x. */
struct barrier {
	sem_t called, go;
};

void barrier_add(struct fixture *fx, struct barrier *b);
void barrier_await(struct barrier *b);
void barrier_open(struct barrier *b);

#endif
