/* retire.h - lists that a reload has replaced, until nobody looks at them.
 *
 * Workers look at the lists of who may do what without a lock, but only while they
 * judge a request or show the configuration.  An errand takes those that were to
 * each worker in turn; when it has been everywhere, they are freed.
 */
#ifndef DAEMON_RETIRE_H
#define DAEMON_RETIRE_H

#include "conf/conf.h"
#include "daemon/mailbox.h"

struct retire;

/* Make one for the workers whose mailboxes these are; they stay.  NULL: out of
 * memory. */
struct retire *retire_new(struct mailbox *const *boxes, unsigned n);

/* Take the lists (NULL: none) around, free them, and then the errand itself.  Main
 * thread. */
void retire_start(struct retire *retire, struct conf_names *names);

#endif
