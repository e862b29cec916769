from tests.threads import kept_threads as kept_threads
