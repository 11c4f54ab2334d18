// The process that holds a pod's namespaces open: waits for the end and reaps orphaned children.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal) { while (waitpid(-1, NULL, WNOHANG) > 0) {} }
static void end(int signal) { _exit(0); }

int main(void) {
  signal(SIGCHLD, reap);
  signal(SIGTERM, end);
  signal(SIGINT, end);
  for (;;) pause();
}
