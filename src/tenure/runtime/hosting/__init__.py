"""Living inside a host program: servers, forks, gevent, exit."""
