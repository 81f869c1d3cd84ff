/*
 * Prints the completion of a shell for clusterctl or clusterd, from the tables that the
 * programs themselves are made of. Runs at build time only.
 *
 *	completion bash|zsh|fish clusterctl|clusterd
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config/signals.h"

enum { REALTIME_FIRST = 32 }; /* signal(7) */

struct option {
	const char *letter, *name, *argument, *help;
};

struct verb {
	const char *word, *arguments, *help;
};

struct program {
	const char *name;
	const struct option *options;
	size_t option_count;
	const struct verb *verbs;
	size_t verb_count;
};

static const struct option ctl_options[] = {
#define OPT(letter, name, argument, field, kind, help) { letter, name, argument, help },
#include "cmd/clusterctl/options.def"
#undef OPT
};

/* An option that stands for a key has the help of the key. */
static const struct {
	const char *name, *help;
} key_help[] = {
#define KEY(section, name, type, fallback, min, max, when, help) { #section "." #name, help },
#define LISTEN_KEY KEY
#include "config/keys.def"
#undef LISTEN_KEY
#undef KEY
};

static const struct {
	struct option option;
	const char *key;
} daemon_rows[] = {
#define OPT(letter, name, argument, key, group, help) { { letter, name, argument, help }, key },
#include "cmd/clusterd/options.def"
#undef OPT
};

static const struct verb verbs[] = {
#define VERB(id, word, arguments, min, max, run, help) { word, arguments, help },
#include "cmd/clusterctl/verbs.def"
#undef VERB
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct option daemon_options[COUNT(daemon_rows)];

static const struct program programs[] = {
	{ "clusterctl", ctl_options, COUNT(ctl_options), verbs, COUNT(verbs) },
	{ "clusterd", daemon_options, COUNT(daemon_options), NULL, 0 },
};

static void fill_daemon_options(void)
{
	for (size_t i = 0; i < COUNT(daemon_rows); i++) {
		daemon_options[i] = daemon_rows[i].option;
		for (size_t k = 0; k < COUNT(key_help); k++)
			if (strcmp(key_help[k].name, daemon_rows[i].key) == 0)
				daemon_options[i].help = key_help[k].help;
	}
}

/* Text inside of '...': what means something to the shell is left out. */
static void put_help(const char *help, const char *without)
{
	for (; *help; help++)
		if (!strchr(without, *help))
			putchar(*help);
}

static const char zsh_special[] = "'[]\\:`$\"", fish_special[] = "'\\";

static void put_choices(const char *argument)
{
	for (; *argument; argument++)
		putchar(*argument == '|' ? ' ' : *argument);
}

/* The same where a ? would be a pattern. */
static void put_literal(const char *argument)
{
	for (; *argument; argument++) {
		if (*argument == '?')
			putchar('\\');
		putchar(*argument == '|' ? ' ' : *argument);
	}
}

static bool is_file(const struct option *option)
{
	return strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "PATH") == 0;
}

/* "auto|always|never": a closed list of words, in small letters. */
static bool is_choice(const char *argument)
{
	return strchr(argument, '|') && !strpbrk(argument, "NSA[+");
}

/* All that have a name of their own, parted by blanks. */
static const char *signal_words(void)
{
	static char words[512];
	char name[SIGNAL_TEXT_MAX];
	size_t used = 0;

	for (int number = 1; number < REALTIME_FIRST; number++) {
		signal_name(number, name);
		used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", used > 0 ? " " : "", name);
	}
	return words;
}

/* The closed list of words that a verb takes, or "". */
static const char *verb_words(const struct verb *verb)
{
	if (strcmp(verb->arguments, "ready|stopped") == 0)
		return "ready stopped";
	if (strncmp(verb->arguments, "SIGNAL", 6) == 0)
		return signal_words();
	return strcmp(verb->arguments, "SLOT|all") == 0 ? "all" : "";
}

static void put_verbs(const struct program *program, char between)
{
	for (size_t i = 0; i < program->verb_count; i++) {
		if (i > 0)
			putchar(between);
		fputs(program->verbs[i].word, stdout);
	}
}

/* ---- bash ---- */

static void bash_option(const struct option *o)
{
	if (!o->argument[0])
		return;
	if (o->letter[0])
		printf("    -%s|", o->letter);
	else
		printf("    ");
	printf("--%s) ", o->name);
	/* For a file none of ours are offered: then the shell offers its own. */
	if (is_choice(o->argument)) {
		fputs("mapfile -t COMPREPLY < <(compgen -W '", stdout);
		put_choices(o->argument);
		fputs("' -- \"$word\"); ", stdout);
	}
	puts("return ;;");
}

/* Which verb there is already decides what can follow. */
static void bash_verbs(const struct program *program)
{
	puts("    for ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "        case ${COMP_WORDS[i]} in");
	fputs("        ", stdout);
	put_verbs(program, '|');
	puts(") verb=${COMP_WORDS[i]} ;;\n"
	     "        esac\n"
	     "    done\n"
	     "    case $verb in");
	fputs("    '') words+=' ", stdout);
	put_verbs(program, ' ');
	puts("' ;;");
	for (size_t i = 0; i < program->verb_count; i++) {
		const struct verb *verb = &program->verbs[i];

		if (*verb_words(verb))
			printf("    %s) words+=' %s' ;;\n", verb->word, verb_words(verb));
	}
	puts("    esac");
}

static void put_bash(const struct program *program)
{
	printf("# bash completion of %s\n_%s()\n{\n", program->name, program->name);
	puts("    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb='' i\n"
	     "    COMPREPLY=()\n"
	     "    # --name=value comes as three words\n"
	     "    if [[ $word == = ]]; then\n"
	     "        word=''\n"
	     "    elif [[ $before == = ]]; then\n"
	     "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
	     "    fi\n"
	     "    case $before in");
	for (size_t i = 0; i < program->option_count; i++)
		bash_option(&program->options[i]);
	fputs("    esac\n    local words='", stdout);
	for (size_t i = 0; i < program->option_count; i++)
		printf("%s--%s", i > 0 ? " " : "", program->options[i].name);
	puts("'");
	if (program->verb_count > 0)
		bash_verbs(program);
	printf("    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
	       "complete -o default -F _%s %s\n", program->name, program->name);
}

/* ---- zsh ---- */

static void zsh_option(const struct option *o)
{
	if (o->letter[0])
		printf("    '(-%s --%s)'{-%s,--%s%s}'[", o->letter, o->name, o->letter, o->name,
		       o->argument[0] ? "=" : "");
	else
		printf("    '--%s%s[", o->name, o->argument[0] ? "=" : "");
	put_help(o->help, zsh_special);
	putchar(']');
	if (o->argument[0]) {
		putchar(':');
		put_help(o->argument, zsh_special);
		putchar(':');
		if (is_file(o))
			fputs("_files", stdout);
		if (is_choice(o->argument)) {
			fputs("{noglob compadd - ", stdout);
			put_choices(o->argument);
			putchar('}');
		}
	}
	puts("' \\");
}

/* What follows the verb; $line has it (zshcompsys(1), _arguments). */
static void zsh_arguments(const struct program *program)
{
	puts("    '1: :{_describe verb verbs}' '2: :->argument' '*: :'\n"
	     "[[ $state == argument ]] && case $line[1] in");
	for (size_t i = 0; i < program->verb_count; i++) {
		const struct verb *verb = &program->verbs[i];

		if (*verb_words(verb))
			printf("%s) compadd - %s ;;\n", verb->word, verb_words(verb));
	}
	puts("esac");
}

static void put_zsh(const struct program *program)
{
	printf("#compdef %s\n", program->name);
	if (program->verb_count > 0) {
		puts("local -a verbs line\nlocal state\nverbs=(");
		for (size_t i = 0; i < program->verb_count; i++) {
			printf("    '%s:", program->verbs[i].word);
			put_help(program->verbs[i].help, zsh_special);
			puts("'");
		}
		puts(")");
	}
	puts("_arguments -S \\");
	for (size_t i = 0; i < program->option_count; i++)
		zsh_option(&program->options[i]);
	if (program->verb_count > 0)
		zsh_arguments(program);
	else
		puts("    '1:program:_command_names -e' '*::argument:_normal'");
}

/* ---- fish ---- */

static void fish_option(const struct program *program, const struct option *o)
{
	printf("complete -c %s", program->name);
	if (o->letter[0])
		printf(" -s %s", o->letter);
	printf(" -l %s", o->name);
	if (is_file(o)) {
		fputs(" -r -F", stdout);
	} else if (is_choice(o->argument)) {
		fputs(" -x -a '", stdout);
		put_literal(o->argument);
		putchar('\'');
	} else if (o->argument[0]) {
		fputs(" -x", stdout);
	}
	fputs(" -d '", stdout);
	put_help(o->help, fish_special);
	puts("'");
}

static void put_fish(const struct program *program)
{
	printf("# fish completion of %s\n", program->name);
	for (size_t i = 0; i < program->option_count; i++)
		fish_option(program, &program->options[i]);
	if (program->verb_count > 0)
		printf("complete -c %s -f\n", program->name);
	for (size_t i = 0; i < program->verb_count; i++) {
		const struct verb *verb = &program->verbs[i];

		printf("complete -c %s -n __fish_use_subcommand -a %s -d '", program->name, verb->word);
		put_help(verb->help, fish_special);
		puts("'");
		if (*verb_words(verb))
			printf("complete -c %s -n '__fish_seen_subcommand_from %s' -a '%s'\n",
			       program->name, verb->word, verb_words(verb));
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *shell;
		void (*put)(const struct program *program);
	} shells[] = { { "bash", put_bash }, { "zsh", put_zsh }, { "fish", put_fish } };

	fill_daemon_options();
	for (size_t i = 0; argc == 3 && i < COUNT(shells) * COUNT(programs); i++) {
		const struct program *program = &programs[i % COUNT(programs)];

		if (strcmp(shells[i / COUNT(programs)].shell, argv[1]) == 0 &&
		    strcmp(program->name, argv[2]) == 0) {
			shells[i / COUNT(programs)].put(program);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	}
	fputs("usage: completion bash|zsh|fish clusterctl|clusterd\n", stderr);
	return 64;
}
