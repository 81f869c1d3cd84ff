/* problem - what a client did wrong, as it will be told. */
#ifndef APP_PROBLEM_H
#define APP_PROBLEM_H

/* The texts are static. */
struct http_problem {
	unsigned status;     /* 0: nothing wrong */
	const char *message;
	const char *allow;   /* 405 only: the value of Allow */
};

#endif
