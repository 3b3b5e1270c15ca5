"""A Papermill engine that tells the truth: `papermill --engine lamb-keras`.

Papermill loads its engines while it is itself being imported, all of them, in every
process. So this module imports nothing: `lamb_keras.batch.papermill` does the work.
"""


class Engine:
    """What Papermill's registry asks of an engine; it is named by an entry point."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, **options):
        """Executes the notebook `nb`, saving it as it goes; returns it.

        Args:
            nb: the notebook, with Papermill's metadata.
            kernel_name: of its kernel.
            options: Papermill's own, those of `papermill.engines.Engine`, those of
                `nbclient.NotebookClient`, and `parameter_table`: whether the parameters
                are to be shown at the top (default: yes).

        Raises:
            lamb_keras.batch.papermill.KernelDied: if the kernel did before its time.
            nbclient.exceptions.CellTimeoutError: for a cell that took too long.
            papermill.exceptions.PapermillException: for an unknown parameter.
        """
        from lamb_keras.batch import papermill

        return papermill.execute(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb, name=None):
        """The name of the kernel: what was asked for, else the notebook's."""
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb, language=None):
        """The language of the notebook: what was asked for, else its own."""
        from papermill.utils import nb_language

        return nb_language(nb, language)
