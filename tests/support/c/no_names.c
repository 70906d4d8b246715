/* A name service that does not come back, for LD_PRELOAD: what a resolver without an answer looks like from inside. */
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    (void)node, (void)service, (void)hints, (void)found;
    sleep(3600);
    return EAI_AGAIN;
}
