# checks/mutants: each mutant has to be noticed by a unit test or by the simulation.
add_test(NAME checks/mutants
	COMMAND ${PYTHON} ${CMAKE_CURRENT_LIST_DIR}/mutants.py ${PROJECT_SOURCE_DIR}
		$<TARGET_FILE:supervisor> $<TARGET_FILE:core> $<TARGET_FILE:os> $<TARGET_FILE:config>)
set_tests_properties(checks/mutants PROPERTIES LABELS "slow;checks" TIMEOUT 240 RUN_SERIAL ON
	ENVIRONMENT "CC=${CMAKE_C_COMPILER}")
